CREATE TABLE cxg_transfer_parts_tenants (
	transfer_id UUID NOT NULL, 
	place INTEGER NOT NULL, 
	part TEXT NOT NULL, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_cxg_transfer_parts_tenants PRIMARY KEY (tenant_id, transfer_id, place)
);

CREATE TABLE cxg_transfers_tenants (
	id UUID NOT NULL, 
	caller_id UUID NOT NULL, 
	kind VARCHAR(8) NOT NULL, 
	entity VARCHAR(200) NOT NULL, 
	state VARCHAR(8) NOT NULL, 
	rows BIGINT NOT NULL, 
	total BIGINT, 
	created_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	started_at TIMESTAMP WITH TIME ZONE, 
	ended_at TIMESTAMP WITH TIME ZONE, 
	seen_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	expires_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	told TEXT, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_cxg_transfers_tenants PRIMARY KEY (tenant_id, id)
);

CREATE INDEX ix_cxg_transfers_tenants_expires_at ON cxg_transfers_tenants (tenant_id, expires_at);

ALTER TABLE cxg_transfers_tenants ENABLE ROW LEVEL SECURITY;

ALTER TABLE cxg_transfers_tenants FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON cxg_transfers_tenants FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON cxg_transfers_tenants AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

ALTER TABLE cxg_transfer_parts_tenants ENABLE ROW LEVEL SECURITY;

ALTER TABLE cxg_transfer_parts_tenants FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON cxg_transfer_parts_tenants FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON cxg_transfer_parts_tenants AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

GRANT DELETE, INSERT, SELECT, UPDATE ON cxg_transfers_tenants, cxg_transfer_parts_tenants TO :"runtime_role";
