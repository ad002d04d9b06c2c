CREATE TABLE cxg_idempotency_tenants (
	caller_id UUID NOT NULL, 
	key VARCHAR(255) NOT NULL, 
	request VARCHAR(64) NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	answer TEXT NOT NULL, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_cxg_idempotency_tenants PRIMARY KEY (tenant_id, caller_id, key)
);

CREATE INDEX ix_cxg_idempotency_tenants_created_at ON cxg_idempotency_tenants (tenant_id, created_at);

ALTER TABLE cxg_idempotency_tenants ENABLE ROW LEVEL SECURITY;

ALTER TABLE cxg_idempotency_tenants FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON cxg_idempotency_tenants FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON cxg_idempotency_tenants AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

GRANT DELETE, INSERT, SELECT, UPDATE ON cxg_idempotency_tenants TO :"runtime_role";
