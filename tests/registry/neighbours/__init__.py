"""Stand-ins for domains that are not registered yet, so that what sales and finance do with their rows is tested now: the
entities and columns that the rules of tenants/apm and tenants/crm read, with the kinds, flags and machines of the catalogue.
They have no rules: what those would write (a delivery's quantities, an order's rate) a test has written.

Nobody imports this into a test process, whose metadata would have these tables from then on: `python -m
tests.registry.neighbours` serves them in a process of its own. A domain that is registered takes its stand-in's place."""
