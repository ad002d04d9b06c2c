"""Where rows live: which database serves a request, and how a connection is bound to the tenant."""
