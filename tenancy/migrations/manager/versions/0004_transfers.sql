CREATE TABLE cxg_transfer_parts_manager (
	transfer_id UUID NOT NULL, 
	place INTEGER NOT NULL, 
	part TEXT NOT NULL, 
	CONSTRAINT pk_cxg_transfer_parts_manager PRIMARY KEY (transfer_id, place)
);

CREATE TABLE cxg_transfers_manager (
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
	CONSTRAINT pk_cxg_transfers_manager PRIMARY KEY (id)
);

CREATE INDEX ix_cxg_transfers_manager_expires_at ON cxg_transfers_manager (expires_at);

GRANT DELETE, INSERT, SELECT, UPDATE ON cxg_transfers_manager, cxg_transfer_parts_manager TO :"runtime_role";
