CREATE SCHEMA IF NOT EXISTS audt;

CREATE SCHEMA IF NOT EXISTS bill;

CREATE SCHEMA IF NOT EXISTS cnfg;

CREATE SCHEMA IF NOT EXISTS idam;

CREATE SCHEMA IF NOT EXISTS tnnt;

CREATE TABLE audt.audit_logs (
	id UUID NOT NULL, 
	occurred_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	scope VARCHAR(24) NOT NULL, 
	tenant_id UUID, 
	actor_id UUID, 
	actor_email VARCHAR(254), 
	action VARCHAR(24) NOT NULL, 
	domain VARCHAR(8) NOT NULL, 
	entity VARCHAR(64) NOT NULL, 
	entity_id UUID, 
	changes JSONB NOT NULL, 
	outcome VARCHAR(24) NOT NULL, 
	ip VARCHAR(45), 
	user_agent VARCHAR(512), 
	request_id VARCHAR(64), 
	seq BIGINT, 
	prev_hash VARCHAR(64), 
	row_hash VARCHAR(64), 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	CONSTRAINT pk_audit_logs PRIMARY KEY (id), 
	CONSTRAINT ck_audit_logs_scope CHECK (scope in ('manager', 'tenant')), 
	CONSTRAINT ck_audit_logs_action CHECK (action in ('create', 'update', 'delete', 'status', 'login', 'logout', 'export', 'other')), 
	CONSTRAINT ck_audit_logs_outcome CHECK (outcome in ('ok', 'denied', 'error'))
);

CREATE TABLE bill.coupons (
	id UUID NOT NULL, 
	code VARCHAR(32) NOT NULL, 
	name VARCHAR(160) NOT NULL, 
	percent_off NUMERIC(7, 4), 
	amount_off NUMERIC(19, 4), 
	currency VARCHAR(3), 
	duration VARCHAR(24) NOT NULL, 
	duration_months INTEGER, 
	max_redemptions INTEGER, 
	times_redeemed INTEGER NOT NULL, 
	valid_from DATE NOT NULL, 
	valid_until DATE, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	CONSTRAINT pk_coupons PRIMARY KEY (id), 
	CONSTRAINT ck_coupons_percent_off_amount_off CHECK ((percent_off is null) <> (amount_off is null)), 
	CONSTRAINT ck_coupons_amount_off_currency CHECK (amount_off is null or currency is not null), 
	CONSTRAINT ck_coupons_duration_duration_months CHECK ((duration = 'repeating') = (duration_months is not null)), 
	CONSTRAINT ck_coupons_valid_until_valid_from CHECK (valid_until is null or valid_until >= valid_from), 
	CONSTRAINT ck_coupons_percent_off CHECK (percent_off >= 0 and percent_off <= 100), 
	CONSTRAINT ck_coupons_amount_off CHECK (amount_off > 0), 
	CONSTRAINT ck_coupons_duration CHECK (duration in ('once', 'repeating', 'forever')), 
	CONSTRAINT ck_coupons_duration_months CHECK (duration_months > 0), 
	CONSTRAINT ck_coupons_max_redemptions CHECK (max_redemptions > 0)
);

CREATE TABLE bill.plans (
	id UUID NOT NULL, 
	code VARCHAR(32) NOT NULL, 
	name VARCHAR(160) NOT NULL, 
	description TEXT, 
	interval VARCHAR(24) NOT NULL, 
	currency VARCHAR(3) NOT NULL, 
	amount NUMERIC(19, 4) NOT NULL, 
	per_seat_amount NUMERIC(19, 4) NOT NULL, 
	seats_included INTEGER NOT NULL, 
	trial_days INTEGER NOT NULL, 
	limits JSONB NOT NULL, 
	features JSONB NOT NULL, 
	sort_order INTEGER NOT NULL, 
	is_public BOOLEAN NOT NULL, 
	status VARCHAR(24) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	CONSTRAINT pk_plans PRIMARY KEY (id), 
	CONSTRAINT ck_plans_interval CHECK (interval in ('month', 'year')), 
	CONSTRAINT ck_plans_amount CHECK (amount >= 0), 
	CONSTRAINT ck_plans_per_seat_amount CHECK (per_seat_amount >= 0), 
	CONSTRAINT ck_plans_seats_included CHECK (seats_included >= 0), 
	CONSTRAINT ck_plans_trial_days CHECK (trial_days >= 0 and trial_days <= 90), 
	CONSTRAINT ck_plans_status CHECK (status in ('draft', 'active', 'archived'))
);

CREATE TABLE cnfg.number_sequences (
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
	CONSTRAINT pk_number_sequences PRIMARY KEY (id), 
	CONSTRAINT ck_number_sequences_padding CHECK (padding >= 3 and padding <= 10), 
	CONSTRAINT ck_number_sequences_reset CHECK (reset in ('never', 'yearly'))
);

CREATE TABLE idam.permissions (
	id UUID NOT NULL, 
	code VARCHAR(120) NOT NULL, 
	scope VARCHAR(24) NOT NULL, 
	domain VARCHAR(8) NOT NULL, 
	entity VARCHAR(64) NOT NULL, 
	action VARCHAR(64) NOT NULL, 
	description VARCHAR(255), 
	is_dangerous BOOLEAN NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	CONSTRAINT pk_permissions PRIMARY KEY (id), 
	CONSTRAINT ck_permissions_scope CHECK (scope in ('manager', 'tenant'))
);

CREATE TABLE idam.roles (
	id UUID NOT NULL, 
	code VARCHAR(32) NOT NULL, 
	name VARCHAR(160) NOT NULL, 
	description TEXT, 
	permissions JSONB NOT NULL, 
	is_system BOOLEAN NOT NULL, 
	max_assignees INTEGER, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	CONSTRAINT pk_roles PRIMARY KEY (id), 
	CONSTRAINT ck_roles_max_assignees CHECK (max_assignees > 0)
);

CREATE TABLE idam.users (
	id UUID NOT NULL, 
	email VARCHAR(254) NOT NULL, 
	full_name VARCHAR(160) NOT NULL, 
	user_type VARCHAR(24) NOT NULL, 
	password_hash VARCHAR(255), 
	password_history JSONB NOT NULL, 
	password_changed_at TIMESTAMP WITH TIME ZONE, 
	must_change_password BOOLEAN NOT NULL, 
	phone VARCHAR(20), 
	locale VARCHAR(10) NOT NULL, 
	timezone VARCHAR(64) NOT NULL, 
	avatar_url VARCHAR(2048), 
	mfa_enabled BOOLEAN NOT NULL, 
	mfa_secret VARCHAR(255), 
	email_verified_at TIMESTAMP WITH TIME ZONE, 
	failed_login_count INTEGER NOT NULL, 
	first_failed_at TIMESTAMP WITH TIME ZONE, 
	locked_until TIMESTAMP WITH TIME ZONE, 
	last_login_at TIMESTAMP WITH TIME ZONE, 
	last_login_ip VARCHAR(45), 
	status VARCHAR(24) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	CONSTRAINT pk_users PRIMARY KEY (id), 
	CONSTRAINT ck_users_user_type CHECK (user_type in ('staff', 'tenant', 'service')), 
	CONSTRAINT ck_users_status CHECK (status in ('invited', 'active', 'locked', 'disabled'))
);

CREATE TABLE tnnt.tenants (
	id UUID NOT NULL, 
	slug VARCHAR(63) NOT NULL, 
	name VARCHAR(160) NOT NULL, 
	legal_name VARCHAR(160), 
	tax_id VARCHAR(32), 
	tax_pct NUMERIC(7, 4) NOT NULL, 
	billing_email VARCHAR(254) NOT NULL, 
	billing_address JSONB, 
	country VARCHAR(2) NOT NULL, 
	currency VARCHAR(3) NOT NULL, 
	timezone VARCHAR(64) NOT NULL, 
	locale VARCHAR(10) NOT NULL, 
	owner_id UUID NOT NULL, 
	settings JSONB NOT NULL, 
	legal_hold BOOLEAN NOT NULL, 
	suspended_reason VARCHAR(24), 
	suspended_at TIMESTAMP WITH TIME ZONE, 
	closing_on DATE, 
	closed_at TIMESTAMP WITH TIME ZONE, 
	status VARCHAR(24) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	CONSTRAINT pk_tenants PRIMARY KEY (id), 
	CONSTRAINT fk_tenants_owner_id FOREIGN KEY(owner_id) REFERENCES idam.users (id) ON DELETE RESTRICT, 
	CONSTRAINT ck_tenants_tax_pct CHECK (tax_pct >= 0 and tax_pct <= 100), 
	CONSTRAINT ck_tenants_suspended_reason CHECK (suspended_reason in ('billing', 'abuse', 'request', 'security')), 
	CONSTRAINT ck_tenants_status CHECK (status in ('pending', 'provisioning', 'active', 'suspended', 'closing', 'closed'))
);

CREATE TABLE bill.subscriptions (
	id UUID NOT NULL, 
	tenant_id UUID NOT NULL, 
	plan_id UUID NOT NULL, 
	seats INTEGER NOT NULL, 
	coupon_id UUID, 
	started_on DATE NOT NULL, 
	trial_end DATE, 
	period_start DATE NOT NULL, 
	period_end DATE NOT NULL, 
	anchor_day SMALLINT NOT NULL, 
	pending_plan_id UUID, 
	pending_seats INTEGER, 
	discount_periods_left INTEGER, 
	cancel_at_period_end BOOLEAN NOT NULL, 
	canceled_at TIMESTAMP WITH TIME ZONE, 
	ended_on DATE, 
	cancel_reason VARCHAR(255), 
	status VARCHAR(24) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	CONSTRAINT pk_subscriptions PRIMARY KEY (id), 
	CONSTRAINT fk_subscriptions_tenant_id FOREIGN KEY(tenant_id) REFERENCES tnnt.tenants (id) ON DELETE RESTRICT, 
	CONSTRAINT fk_subscriptions_plan_id FOREIGN KEY(plan_id) REFERENCES bill.plans (id) ON DELETE RESTRICT, 
	CONSTRAINT fk_subscriptions_coupon_id FOREIGN KEY(coupon_id) REFERENCES bill.coupons (id) ON DELETE RESTRICT, 
	CONSTRAINT fk_subscriptions_pending_plan_id FOREIGN KEY(pending_plan_id) REFERENCES bill.plans (id) ON DELETE RESTRICT, 
	CONSTRAINT ck_subscriptions_seats CHECK (seats >= 1), 
	CONSTRAINT ck_subscriptions_anchor_day CHECK (anchor_day >= 1 and anchor_day <= 31), 
	CONSTRAINT ck_subscriptions_status CHECK (status in ('trialing', 'active', 'past_due', 'suspended', 'canceled'))
);

CREATE TABLE idam.api_keys (
	id UUID NOT NULL, 
	name VARCHAR(160) NOT NULL, 
	user_id UUID NOT NULL, 
	tenant_id UUID, 
	prefix VARCHAR(12) NOT NULL, 
	key_hash VARCHAR(64) NOT NULL, 
	scopes JSONB NOT NULL, 
	allowed_ips JSONB NOT NULL, 
	rate_limit_per_minute INTEGER NOT NULL, 
	expires_at TIMESTAMP WITH TIME ZONE, 
	last_used_at TIMESTAMP WITH TIME ZONE, 
	last_used_ip VARCHAR(45), 
	revoked_at TIMESTAMP WITH TIME ZONE, 
	status VARCHAR(24) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	CONSTRAINT pk_api_keys PRIMARY KEY (id), 
	CONSTRAINT fk_api_keys_user_id FOREIGN KEY(user_id) REFERENCES idam.users (id) ON DELETE CASCADE, 
	CONSTRAINT fk_api_keys_tenant_id FOREIGN KEY(tenant_id) REFERENCES tnnt.tenants (id) ON DELETE CASCADE, 
	CONSTRAINT ck_api_keys_rate_limit_per_minute CHECK (rate_limit_per_minute >= 1 and rate_limit_per_minute <= 6000), 
	CONSTRAINT ck_api_keys_status CHECK (status in ('active', 'revoked', 'expired'))
);

CREATE TABLE idam.sessions (
	id UUID NOT NULL, 
	user_id UUID NOT NULL, 
	tenant_id UUID, 
	refresh_hash VARCHAR(64) NOT NULL, 
	family_id UUID NOT NULL, 
	ip VARCHAR(45), 
	user_agent VARCHAR(512), 
	mfa_passed BOOLEAN NOT NULL, 
	issued_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	expires_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	last_seen_at TIMESTAMP WITH TIME ZONE, 
	revoked_at TIMESTAMP WITH TIME ZONE, 
	revoke_reason VARCHAR(24), 
	status VARCHAR(24) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	CONSTRAINT pk_sessions PRIMARY KEY (id), 
	CONSTRAINT fk_sessions_user_id FOREIGN KEY(user_id) REFERENCES idam.users (id) ON DELETE CASCADE, 
	CONSTRAINT fk_sessions_tenant_id FOREIGN KEY(tenant_id) REFERENCES tnnt.tenants (id) ON DELETE CASCADE, 
	CONSTRAINT ck_sessions_revoke_reason CHECK (revoke_reason in ('logout', 'rotated', 'reuse', 'admin', 'password_change', 'limit')), 
	CONSTRAINT ck_sessions_status CHECK (status in ('active', 'revoked', 'expired'))
);

CREATE TABLE idam.user_roles (
	id UUID NOT NULL, 
	user_id UUID NOT NULL, 
	role_id UUID NOT NULL, 
	tenant_id UUID, 
	valid_from TIMESTAMP WITH TIME ZONE NOT NULL, 
	valid_until TIMESTAMP WITH TIME ZONE, 
	reason VARCHAR(255), 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	CONSTRAINT pk_user_roles PRIMARY KEY (id), 
	CONSTRAINT ck_user_roles_valid_until_valid_from CHECK (valid_until is null or valid_until > valid_from), 
	CONSTRAINT fk_user_roles_user_id FOREIGN KEY(user_id) REFERENCES idam.users (id) ON DELETE CASCADE, 
	CONSTRAINT fk_user_roles_role_id FOREIGN KEY(role_id) REFERENCES idam.roles (id) ON DELETE RESTRICT, 
	CONSTRAINT fk_user_roles_tenant_id FOREIGN KEY(tenant_id) REFERENCES tnnt.tenants (id) ON DELETE CASCADE
);

CREATE TABLE tnnt.domains (
	id UUID NOT NULL, 
	tenant_id UUID NOT NULL, 
	hostname VARCHAR(253) NOT NULL, 
	is_primary BOOLEAN NOT NULL, 
	verification_token VARCHAR(64) NOT NULL, 
	verified_at TIMESTAMP WITH TIME ZONE, 
	certificate_expires_on DATE, 
	status VARCHAR(24) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	CONSTRAINT pk_domains PRIMARY KEY (id), 
	CONSTRAINT fk_domains_tenant_id FOREIGN KEY(tenant_id) REFERENCES tnnt.tenants (id) ON DELETE CASCADE, 
	CONSTRAINT ck_domains_status CHECK (status in ('pending', 'verified', 'failed'))
);

CREATE TABLE tnnt.invitations (
	id UUID NOT NULL, 
	tenant_id UUID NOT NULL, 
	email VARCHAR(254) NOT NULL, 
	role VARCHAR(24) NOT NULL, 
	token_hash VARCHAR(64) NOT NULL, 
	expires_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	accepted_at TIMESTAMP WITH TIME ZONE, 
	accepted_user_id UUID, 
	message VARCHAR(500), 
	status VARCHAR(24) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	CONSTRAINT pk_invitations PRIMARY KEY (id), 
	CONSTRAINT fk_invitations_tenant_id FOREIGN KEY(tenant_id) REFERENCES tnnt.tenants (id) ON DELETE CASCADE, 
	CONSTRAINT fk_invitations_accepted_user_id FOREIGN KEY(accepted_user_id) REFERENCES idam.users (id) ON DELETE SET NULL, 
	CONSTRAINT ck_invitations_role CHECK (role in ('owner', 'admin', 'member', 'guest')), 
	CONSTRAINT ck_invitations_status CHECK (status in ('pending', 'accepted', 'expired', 'revoked'))
);

CREATE TABLE tnnt.tenant_members (
	id UUID NOT NULL, 
	tenant_id UUID NOT NULL, 
	user_id UUID NOT NULL, 
	role VARCHAR(24) NOT NULL, 
	joined_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	last_access_at TIMESTAMP WITH TIME ZONE, 
	status VARCHAR(24) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	CONSTRAINT pk_tenant_members PRIMARY KEY (id), 
	CONSTRAINT fk_tenant_members_tenant_id FOREIGN KEY(tenant_id) REFERENCES tnnt.tenants (id) ON DELETE CASCADE, 
	CONSTRAINT fk_tenant_members_user_id FOREIGN KEY(user_id) REFERENCES idam.users (id) ON DELETE CASCADE, 
	CONSTRAINT ck_tenant_members_role CHECK (role in ('owner', 'admin', 'member', 'guest')), 
	CONSTRAINT ck_tenant_members_status CHECK (status in ('active', 'suspended', 'removed'))
);

CREATE TABLE bill.invoices (
	id UUID NOT NULL, 
	number VARCHAR(32), 
	kind VARCHAR(24) NOT NULL, 
	tenant_id UUID NOT NULL, 
	subscription_id UUID, 
	original_invoice_id UUID, 
	currency VARCHAR(3) NOT NULL, 
	issue_date DATE, 
	due_date DATE, 
	period_start DATE, 
	period_end DATE, 
	subtotal NUMERIC(19, 4) NOT NULL, 
	tax_pct NUMERIC(7, 4) NOT NULL, 
	tax_total NUMERIC(19, 4) NOT NULL, 
	total NUMERIC(19, 4) NOT NULL, 
	amount_paid NUMERIC(19, 4) NOT NULL, 
	amount_credited NUMERIC(19, 4) NOT NULL, 
	amount_due NUMERIC(19, 4) NOT NULL, 
	bill_to JSONB, 
	memo TEXT, 
	paid_at TIMESTAMP WITH TIME ZONE, 
	voided_at TIMESTAMP WITH TIME ZONE, 
	status VARCHAR(24) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	CONSTRAINT pk_invoices PRIMARY KEY (id), 
	CONSTRAINT ck_invoices_due_date_issue_date CHECK (due_date is null or issue_date is null or due_date >= issue_date), 
	CONSTRAINT ck_invoices_kind_original_invoice_id CHECK ((kind = 'credit_note') = (original_invoice_id is not null)), 
	CONSTRAINT fk_invoices_tenant_id FOREIGN KEY(tenant_id) REFERENCES tnnt.tenants (id) ON DELETE RESTRICT, 
	CONSTRAINT fk_invoices_subscription_id FOREIGN KEY(subscription_id) REFERENCES bill.subscriptions (id) ON DELETE RESTRICT, 
	CONSTRAINT fk_invoices_original_invoice_id FOREIGN KEY(original_invoice_id) REFERENCES bill.invoices (id) ON DELETE RESTRICT, 
	CONSTRAINT ck_invoices_kind CHECK (kind in ('invoice', 'credit_note')), 
	CONSTRAINT ck_invoices_tax_pct CHECK (tax_pct >= 0 and tax_pct <= 100), 
	CONSTRAINT ck_invoices_status CHECK (status in ('draft', 'open', 'paid', 'void', 'uncollectible'))
);

CREATE TABLE bill.dunning_notices (
	id UUID NOT NULL, 
	invoice_id UUID NOT NULL, 
	subscription_id UUID, 
	step SMALLINT NOT NULL, 
	due_since DATE NOT NULL, 
	amount_due NUMERIC(19, 4) NOT NULL, 
	sent_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	notification_id UUID, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	CONSTRAINT pk_dunning_notices PRIMARY KEY (id), 
	CONSTRAINT fk_dunning_notices_invoice_id FOREIGN KEY(invoice_id) REFERENCES bill.invoices (id) ON DELETE CASCADE, 
	CONSTRAINT fk_dunning_notices_subscription_id FOREIGN KEY(subscription_id) REFERENCES bill.subscriptions (id) ON DELETE CASCADE
);

CREATE TABLE bill.invoice_lines (
	id UUID NOT NULL, 
	invoice_id UUID NOT NULL, 
	position INTEGER NOT NULL, 
	kind VARCHAR(24) NOT NULL, 
	description VARCHAR(255) NOT NULL, 
	quantity NUMERIC(18, 4) NOT NULL, 
	unit_amount NUMERIC(19, 6) NOT NULL, 
	amount NUMERIC(19, 4) NOT NULL, 
	period_start DATE, 
	period_end DATE, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	CONSTRAINT pk_invoice_lines PRIMARY KEY (id), 
	CONSTRAINT fk_invoice_lines_invoice_id FOREIGN KEY(invoice_id) REFERENCES bill.invoices (id) ON DELETE CASCADE, 
	CONSTRAINT ck_invoice_lines_kind CHECK (kind in ('plan', 'seats', 'proration', 'usage', 'one_off', 'discount'))
);

CREATE TABLE bill.transactions (
	id UUID NOT NULL, 
	tenant_id UUID NOT NULL, 
	invoice_id UUID NOT NULL, 
	kind VARCHAR(24) NOT NULL, 
	parent_id UUID, 
	method VARCHAR(24) NOT NULL, 
	currency VARCHAR(3) NOT NULL, 
	amount NUMERIC(19, 4) NOT NULL, 
	provider VARCHAR(32), 
	provider_ref VARCHAR(128), 
	idempotency_key VARCHAR(80), 
	failure_code VARCHAR(64), 
	processed_at TIMESTAMP WITH TIME ZONE, 
	status VARCHAR(24) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	CONSTRAINT pk_transactions PRIMARY KEY (id), 
	CONSTRAINT ck_transactions_kind_parent_id CHECK ((kind = 'payment') = (parent_id is null)), 
	CONSTRAINT fk_transactions_tenant_id FOREIGN KEY(tenant_id) REFERENCES tnnt.tenants (id) ON DELETE RESTRICT, 
	CONSTRAINT fk_transactions_invoice_id FOREIGN KEY(invoice_id) REFERENCES bill.invoices (id) ON DELETE RESTRICT, 
	CONSTRAINT fk_transactions_parent_id FOREIGN KEY(parent_id) REFERENCES bill.transactions (id) ON DELETE RESTRICT, 
	CONSTRAINT ck_transactions_kind CHECK (kind in ('payment', 'refund', 'chargeback')), 
	CONSTRAINT ck_transactions_method CHECK (method in ('card', 'bank_transfer', 'manual')), 
	CONSTRAINT ck_transactions_amount CHECK (amount > 0), 
	CONSTRAINT ck_transactions_status CHECK (status in ('pending', 'succeeded', 'failed'))
);

CREATE INDEX ix_audit_logs_domain_entity_entity_id ON audt.audit_logs (domain, entity, entity_id);

CREATE INDEX ix_audit_logs_occurred_at ON audt.audit_logs (occurred_at);

CREATE UNIQUE INDEX uq_audit_logs_seq ON audt.audit_logs (seq) WHERE is_active;

CREATE UNIQUE INDEX uq_coupons_code ON bill.coupons (code) WHERE is_active;

CREATE INDEX ix_dunning_notices_invoice_id_fk ON bill.dunning_notices (invoice_id);

CREATE INDEX ix_dunning_notices_subscription_id_fk ON bill.dunning_notices (subscription_id);

CREATE UNIQUE INDEX uq_dunning_notices_invoice_id_step ON bill.dunning_notices (invoice_id, step) WHERE is_active;

CREATE INDEX ix_invoice_lines_invoice_id_fk ON bill.invoice_lines (invoice_id);

CREATE INDEX ix_invoices_original_invoice_id_fk ON bill.invoices (original_invoice_id);

CREATE INDEX ix_invoices_subscription_id_fk ON bill.invoices (subscription_id);

CREATE UNIQUE INDEX uq_invoices_number ON bill.invoices (number) WHERE is_active;

CREATE UNIQUE INDEX uq_plans_code ON bill.plans (code) WHERE is_active;

CREATE INDEX ix_subscriptions_coupon_id_fk ON bill.subscriptions (coupon_id);

CREATE INDEX ix_subscriptions_pending_plan_id_fk ON bill.subscriptions (pending_plan_id);

CREATE INDEX ix_subscriptions_plan_id_fk ON bill.subscriptions (plan_id);

CREATE UNIQUE INDEX uq_subscriptions_tenant_id ON bill.subscriptions (tenant_id) WHERE is_active and (status <> 'canceled');

CREATE INDEX ix_transactions_invoice_id_fk ON bill.transactions (invoice_id);

CREATE INDEX ix_transactions_parent_id_fk ON bill.transactions (parent_id);

CREATE UNIQUE INDEX uq_transactions_provider_provider_ref ON bill.transactions (provider, provider_ref) WHERE is_active;

CREATE UNIQUE INDEX uq_transactions_tenant_id_idempotency_key ON bill.transactions (tenant_id, idempotency_key) WHERE is_active;

CREATE UNIQUE INDEX uq_number_sequences_code ON cnfg.number_sequences (code) WHERE is_active;

CREATE INDEX ix_api_keys_user_id_fk ON idam.api_keys (user_id);

CREATE UNIQUE INDEX uq_api_keys_key_hash ON idam.api_keys (key_hash) WHERE is_active;

CREATE UNIQUE INDEX uq_api_keys_prefix ON idam.api_keys (prefix) WHERE is_active;

CREATE UNIQUE INDEX uq_permissions_code ON idam.permissions (code) WHERE is_active;

CREATE UNIQUE INDEX uq_roles_code ON idam.roles (code) WHERE is_active;

CREATE INDEX ix_sessions_user_id_fk ON idam.sessions (user_id);

CREATE UNIQUE INDEX uq_sessions_refresh_hash ON idam.sessions (refresh_hash) WHERE is_active;

CREATE INDEX ix_user_roles_role_id_fk ON idam.user_roles (role_id);

CREATE INDEX ix_user_roles_user_id_fk ON idam.user_roles (user_id);

CREATE UNIQUE INDEX uq_user_roles_user_id_role_id_tenant_id ON idam.user_roles (user_id, role_id, tenant_id) NULLS NOT DISTINCT WHERE is_active;

CREATE UNIQUE INDEX uq_users_email ON idam.users (email) WHERE is_active;

CREATE UNIQUE INDEX uq_domains_hostname ON tnnt.domains (hostname) WHERE is_active;

CREATE UNIQUE INDEX uq_domains_tenant_id ON tnnt.domains (tenant_id) WHERE is_active and (is_primary);

CREATE INDEX ix_invitations_accepted_user_id_fk ON tnnt.invitations (accepted_user_id);

CREATE UNIQUE INDEX uq_invitations_tenant_id_email ON tnnt.invitations (tenant_id, email) WHERE is_active and (status = 'pending');

CREATE UNIQUE INDEX uq_invitations_token_hash ON tnnt.invitations (token_hash) WHERE is_active;

CREATE INDEX ix_tenant_members_user_id_fk ON tnnt.tenant_members (user_id);

CREATE UNIQUE INDEX uq_tenant_members_tenant_id_user_id ON tnnt.tenant_members (tenant_id, user_id) WHERE is_active and (status <> 'removed');

CREATE INDEX ix_tenants_owner_id_fk ON tnnt.tenants (owner_id);

CREATE UNIQUE INDEX uq_tenants_slug ON tnnt.tenants (slug) WHERE is_active;

GRANT USAGE ON SCHEMA audt, bill, cnfg, idam, tnnt TO :"runtime_role";

GRANT DELETE, INSERT, SELECT, UPDATE ON bill.plans, bill.coupons, bill.subscriptions, bill.invoices, bill.invoice_lines, bill.transactions, bill.dunning_notices, tnnt.tenants, tnnt.tenant_members, tnnt.invitations, tnnt.domains, idam.users, idam.roles, idam.permissions, idam.user_roles, idam.api_keys, idam.sessions, cnfg.number_sequences TO :"runtime_role";

GRANT INSERT, SELECT, UPDATE (prev_hash), UPDATE (row_hash), UPDATE (seq) ON audt.audit_logs TO :"runtime_role";

CREATE OR REPLACE FUNCTION public.cxg_append_only() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
  IF TG_OP = 'UPDATE' AND to_jsonb(OLD) - TG_ARGV = to_jsonb(NEW) - TG_ARGV THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION '%.% is append-only: % refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
    USING ERRCODE = 'restrict_violation';
END
$body$;

CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR DELETE ON audt.audit_logs FOR EACH ROW EXECUTE FUNCTION public.cxg_append_only('seq', 'prev_hash', 'row_hash');

CREATE OR REPLACE TRIGGER append_only_truncate BEFORE TRUNCATE ON audt.audit_logs FOR EACH STATEMENT EXECUTE FUNCTION public.cxg_append_only();
