CREATE SCHEMA IF NOT EXISTS crm;

CREATE SCHEMA IF NOT EXISTS sys;

CREATE TABLE crm.customers (
	id UUID NOT NULL, 
	number VARCHAR(32), 
	name VARCHAR(160) NOT NULL, 
	legal_name VARCHAR(160), 
	kind VARCHAR(24) NOT NULL, 
	tax_id VARCHAR(32), 
	email VARCHAR(254), 
	phone VARCHAR(20), 
	website VARCHAR(2048), 
	billing_address JSONB, 
	shipping_address JSONB, 
	currency VARCHAR(3) NOT NULL, 
	price_list_id UUID, 
	payment_terms_days SMALLINT NOT NULL, 
	credit_limit NUMERIC(19, 4), 
	owner_id UUID, 
	parent_id UUID, 
	industry VARCHAR(64), 
	tags JSONB NOT NULL, 
	tax_exempt BOOLEAN NOT NULL, 
	status VARCHAR(24) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_customers PRIMARY KEY (tenant_id, id), 
	CONSTRAINT ck_customers_kind CHECK (kind in ('company', 'person')), 
	CONSTRAINT ck_customers_payment_terms_days CHECK (payment_terms_days >= 0 and payment_terms_days <= 365), 
	CONSTRAINT ck_customers_credit_limit CHECK (credit_limit >= 0), 
	CONSTRAINT ck_customers_status CHECK (status in ('prospect', 'active', 'on_hold', 'blocked')), 
	CONSTRAINT fk_customers_parent_id FOREIGN KEY(tenant_id, parent_id) REFERENCES crm.customers (tenant_id, id) ON DELETE RESTRICT
);

CREATE TABLE sys.audit_logs (
	id UUID NOT NULL, 
	occurred_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	actor_id UUID, 
	action VARCHAR(24) NOT NULL, 
	domain VARCHAR(8) NOT NULL, 
	entity VARCHAR(64) NOT NULL, 
	entity_id UUID, 
	changes JSONB NOT NULL, 
	request_id VARCHAR(64), 
	seal VARCHAR(64), 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_audit_logs PRIMARY KEY (tenant_id, id), 
	CONSTRAINT ck_audit_logs_action CHECK (action in ('create', 'update', 'delete', 'status', 'export', 'other'))
);

CREATE TABLE sys.number_sequences (
	id UUID NOT NULL, 
	code VARCHAR(32) NOT NULL, 
	prefix VARCHAR(12) NOT NULL, 
	padding SMALLINT NOT NULL, 
	reset VARCHAR(24) NOT NULL, 
	gapless BOOLEAN NOT NULL, 
	current_year SMALLINT, 
	next_value BIGINT NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_number_sequences PRIMARY KEY (tenant_id, id), 
	CONSTRAINT ck_number_sequences_padding CHECK (padding >= 3 and padding <= 10), 
	CONSTRAINT ck_number_sequences_reset CHECK (reset in ('never', 'yearly'))
);

CREATE TABLE crm.contacts (
	id UUID NOT NULL, 
	customer_id UUID NOT NULL, 
	full_name VARCHAR(160) NOT NULL, 
	email VARCHAR(254), 
	phone VARCHAR(20), 
	position VARCHAR(120), 
	is_primary BOOLEAN NOT NULL, 
	marketing_consent BOOLEAN NOT NULL, 
	consent_at TIMESTAMP WITH TIME ZONE, 
	notes TEXT, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_contacts PRIMARY KEY (tenant_id, id), 
	CONSTRAINT fk_contacts_customer_id FOREIGN KEY(tenant_id, customer_id) REFERENCES crm.customers (tenant_id, id) ON DELETE CASCADE
);

CREATE TABLE crm.opportunities (
	id UUID NOT NULL, 
	number VARCHAR(32), 
	title VARCHAR(200) NOT NULL, 
	customer_id UUID NOT NULL, 
	contact_id UUID, 
	currency VARCHAR(3) NOT NULL, 
	amount NUMERIC(19, 4) NOT NULL, 
	probability NUMERIC(7, 4) NOT NULL, 
	weighted_amount NUMERIC(19, 4) NOT NULL, 
	expected_close DATE, 
	owner_id UUID, 
	lost_reason VARCHAR(255), 
	competitor VARCHAR(120), 
	won_at TIMESTAMP WITH TIME ZONE, 
	closed_at TIMESTAMP WITH TIME ZONE, 
	status VARCHAR(24) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_opportunities PRIMARY KEY (tenant_id, id), 
	CONSTRAINT ck_opportunities_amount CHECK (amount >= 0), 
	CONSTRAINT ck_opportunities_probability CHECK (probability >= 0 and probability <= 100), 
	CONSTRAINT ck_opportunities_status CHECK (status in ('discovery', 'proposal', 'negotiation', 'won', 'lost')), 
	CONSTRAINT fk_opportunities_contact_id FOREIGN KEY(tenant_id, contact_id) REFERENCES crm.contacts (tenant_id, id) ON DELETE SET NULL (contact_id), 
	CONSTRAINT fk_opportunities_customer_id FOREIGN KEY(tenant_id, customer_id) REFERENCES crm.customers (tenant_id, id) ON DELETE RESTRICT
);

CREATE TABLE crm.leads (
	id UUID NOT NULL, 
	full_name VARCHAR(160) NOT NULL, 
	company_name VARCHAR(160), 
	email VARCHAR(254), 
	phone VARCHAR(20), 
	source VARCHAR(24) NOT NULL, 
	estimated_value NUMERIC(19, 4), 
	owner_id UUID, 
	score SMALLINT NOT NULL, 
	notes TEXT, 
	disqualify_reason VARCHAR(255), 
	customer_id UUID, 
	contact_id UUID, 
	opportunity_id UUID, 
	converted_at TIMESTAMP WITH TIME ZONE, 
	status VARCHAR(24) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_leads PRIMARY KEY (tenant_id, id), 
	CONSTRAINT ck_leads_email_phone CHECK (email is not null or phone is not null), 
	CONSTRAINT ck_leads_source CHECK (source in ('web', 'referral', 'event', 'cold_call', 'partner', 'import')), 
	CONSTRAINT ck_leads_estimated_value CHECK (estimated_value >= 0), 
	CONSTRAINT ck_leads_status CHECK (status in ('new', 'contacted', 'qualified', 'converted', 'disqualified')), 
	CONSTRAINT fk_leads_contact_id FOREIGN KEY(tenant_id, contact_id) REFERENCES crm.contacts (tenant_id, id) ON DELETE SET NULL (contact_id), 
	CONSTRAINT fk_leads_customer_id FOREIGN KEY(tenant_id, customer_id) REFERENCES crm.customers (tenant_id, id) ON DELETE SET NULL (customer_id), 
	CONSTRAINT fk_leads_opportunity_id FOREIGN KEY(tenant_id, opportunity_id) REFERENCES crm.opportunities (tenant_id, id) ON DELETE SET NULL (opportunity_id)
);

CREATE TABLE crm.activities (
	id UUID NOT NULL, 
	kind VARCHAR(24) NOT NULL, 
	subject VARCHAR(200) NOT NULL, 
	body TEXT, 
	customer_id UUID, 
	contact_id UUID, 
	lead_id UUID, 
	opportunity_id UUID, 
	owner_id UUID, 
	starts_at TIMESTAMP WITH TIME ZONE, 
	ends_at TIMESTAMP WITH TIME ZONE, 
	due_at TIMESTAMP WITH TIME ZONE, 
	done_at TIMESTAMP WITH TIME ZONE, 
	outcome VARCHAR(255), 
	status VARCHAR(24) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_activities PRIMARY KEY (tenant_id, id), 
	CONSTRAINT ck_activities_customer_id_lead_id_opportunity_id CHECK (customer_id is not null or lead_id is not null or opportunity_id is not null), 
	CONSTRAINT ck_activities_ends_at_starts_at CHECK (ends_at is null or (starts_at is not null and ends_at >= starts_at)), 
	CONSTRAINT ck_activities_kind CHECK (kind in ('call', 'email', 'meeting', 'task', 'note')), 
	CONSTRAINT ck_activities_status CHECK (status in ('planned', 'done', 'canceled')), 
	CONSTRAINT fk_activities_contact_id FOREIGN KEY(tenant_id, contact_id) REFERENCES crm.contacts (tenant_id, id) ON DELETE SET NULL (contact_id), 
	CONSTRAINT fk_activities_customer_id FOREIGN KEY(tenant_id, customer_id) REFERENCES crm.customers (tenant_id, id) ON DELETE CASCADE, 
	CONSTRAINT fk_activities_lead_id FOREIGN KEY(tenant_id, lead_id) REFERENCES crm.leads (tenant_id, id) ON DELETE CASCADE, 
	CONSTRAINT fk_activities_opportunity_id FOREIGN KEY(tenant_id, opportunity_id) REFERENCES crm.opportunities (tenant_id, id) ON DELETE CASCADE
);

CREATE INDEX ix_activities_contact_id_fk ON crm.activities (tenant_id, contact_id);

CREATE INDEX ix_activities_customer_id_fk ON crm.activities (tenant_id, customer_id);

CREATE INDEX ix_activities_lead_id_fk ON crm.activities (tenant_id, lead_id);

CREATE INDEX ix_activities_opportunity_id_fk ON crm.activities (tenant_id, opportunity_id);

CREATE INDEX ix_contacts_customer_id_fk ON crm.contacts (tenant_id, customer_id);

CREATE INDEX ix_customers_parent_id_fk ON crm.customers (tenant_id, parent_id);

CREATE UNIQUE INDEX uq_customers_number ON crm.customers (tenant_id, number) WHERE is_active;

CREATE UNIQUE INDEX uq_customers_tax_id ON crm.customers (tenant_id, tax_id) WHERE is_active;

CREATE INDEX ix_leads_contact_id_fk ON crm.leads (tenant_id, contact_id);

CREATE INDEX ix_leads_customer_id_fk ON crm.leads (tenant_id, customer_id);

CREATE INDEX ix_leads_opportunity_id_fk ON crm.leads (tenant_id, opportunity_id);

CREATE INDEX ix_opportunities_contact_id_fk ON crm.opportunities (tenant_id, contact_id);

CREATE INDEX ix_opportunities_customer_id_fk ON crm.opportunities (tenant_id, customer_id);

CREATE UNIQUE INDEX uq_opportunities_number ON crm.opportunities (tenant_id, number) WHERE is_active;

CREATE INDEX ix_audit_logs_domain_entity_entity_id ON sys.audit_logs (tenant_id, domain, entity, entity_id);

CREATE INDEX ix_audit_logs_occurred_at ON sys.audit_logs (tenant_id, occurred_at);

CREATE UNIQUE INDEX uq_number_sequences_code ON sys.number_sequences (tenant_id, code) WHERE is_active;

ALTER TABLE crm.customers ENABLE ROW LEVEL SECURITY;

ALTER TABLE crm.customers FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON crm.customers FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON crm.customers AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

ALTER TABLE crm.contacts ENABLE ROW LEVEL SECURITY;

ALTER TABLE crm.contacts FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON crm.contacts FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON crm.contacts AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

ALTER TABLE crm.leads ENABLE ROW LEVEL SECURITY;

ALTER TABLE crm.leads FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON crm.leads FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON crm.leads AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

ALTER TABLE crm.opportunities ENABLE ROW LEVEL SECURITY;

ALTER TABLE crm.opportunities FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON crm.opportunities FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON crm.opportunities AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

ALTER TABLE crm.activities ENABLE ROW LEVEL SECURITY;

ALTER TABLE crm.activities FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON crm.activities FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON crm.activities AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

ALTER TABLE sys.number_sequences ENABLE ROW LEVEL SECURITY;

ALTER TABLE sys.number_sequences FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON sys.number_sequences FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON sys.number_sequences AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

ALTER TABLE sys.audit_logs ENABLE ROW LEVEL SECURITY;

ALTER TABLE sys.audit_logs FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON sys.audit_logs FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON sys.audit_logs AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

GRANT USAGE ON SCHEMA crm, sys TO :"runtime_role";

GRANT DELETE, INSERT, SELECT, UPDATE ON crm.customers, crm.contacts, crm.leads, crm.opportunities, crm.activities, sys.number_sequences TO :"runtime_role";

GRANT INSERT, SELECT, UPDATE (seal) ON sys.audit_logs TO :"runtime_role";
