CREATE TABLE cxg_idempotency_manager (
	caller_id UUID NOT NULL, 
	key VARCHAR(255) NOT NULL, 
	request VARCHAR(64) NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	answer TEXT NOT NULL, 
	CONSTRAINT pk_cxg_idempotency_manager PRIMARY KEY (caller_id, key)
);

CREATE INDEX ix_cxg_idempotency_manager_created_at ON cxg_idempotency_manager (created_at);

GRANT DELETE, INSERT, SELECT, UPDATE ON cxg_idempotency_manager TO :"runtime_role";
