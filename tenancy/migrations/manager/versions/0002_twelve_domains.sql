CREATE SCHEMA IF NOT EXISTS auto;

CREATE SCHEMA IF NOT EXISTS intg;

CREATE SCHEMA IF NOT EXISTS noti;

CREATE EXTENSION IF NOT EXISTS btree_gist;

ALTER TABLE idam.users ALTER COLUMN mfa_secret TYPE TEXT USING mfa_secret::TEXT;

CREATE INDEX ix_audit_logs_unsealed ON audt.audit_logs (id) WHERE seq is null;

CREATE INDEX ix_dunning_notices_notification_id_fk ON bill.dunning_notices (notification_id);

CREATE TABLE audt.data_requests (
	id UUID NOT NULL, 
	number VARCHAR(32), 
	tenant_id UUID, 
	subject_email VARCHAR(254) NOT NULL, 
	kind VARCHAR(24) NOT NULL, 
	received_on DATE NOT NULL, 
	due_on DATE NOT NULL, 
	extended BOOLEAN NOT NULL, 
	verified_by UUID, 
	completed_at TIMESTAMP WITH TIME ZONE, 
	evidence_url VARCHAR(2048), 
	notes TEXT, 
	status VARCHAR(24) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	CONSTRAINT pk_data_requests PRIMARY KEY (id), 
	CONSTRAINT fk_data_requests_tenant_id FOREIGN KEY(tenant_id) REFERENCES tnnt.tenants (id) ON DELETE RESTRICT, 
	CONSTRAINT ck_data_requests_kind CHECK (kind in ('export', 'erasure', 'rectification')), 
	CONSTRAINT ck_data_requests_status CHECK (status in ('received', 'verifying', 'in_progress', 'completed', 'rejected'))
);

CREATE TABLE audt.login_events (
	id UUID NOT NULL, 
	occurred_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	user_id UUID, 
	email_tried VARCHAR(254) NOT NULL, 
	result VARCHAR(24) NOT NULL, 
	ip VARCHAR(45), 
	country VARCHAR(2), 
	user_agent VARCHAR(512), 
	session_id UUID, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	CONSTRAINT pk_login_events PRIMARY KEY (id), 
	CONSTRAINT ck_login_events_result CHECK (result in ('success', 'bad_password', 'unknown_user', 'locked', 'mfa_failed', 'disabled'))
);

CREATE TABLE audt.policies (
	id UUID NOT NULL, 
	code VARCHAR(32) NOT NULL, 
	kind VARCHAR(24) NOT NULL, 
	tenant_id UUID, 
	parameters JSONB NOT NULL, 
	valid_from DATE NOT NULL, 
	valid_until DATE, 
	status VARCHAR(24) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	CONSTRAINT pk_policies PRIMARY KEY (id), 
	CONSTRAINT fk_policies_tenant_id FOREIGN KEY(tenant_id) REFERENCES tnnt.tenants (id) ON DELETE CASCADE, 
	CONSTRAINT ex_policies_kind_tenant_id_valid_from EXCLUDE USING gist (kind WITH =, coalesce(tenant_id, '00000000-0000-0000-0000-000000000000'::uuid) WITH =, daterange(valid_from, valid_until, '[]') WITH &&) WHERE (is_active and (status = 'active')), 
	CONSTRAINT ck_policies_valid_from_valid_until CHECK (valid_until is null or valid_until >= valid_from), 
	CONSTRAINT ck_policies_kind CHECK (kind in ('password', 'session', 'mfa', 'ip_allowlist', 'retention')), 
	CONSTRAINT ck_policies_status CHECK (status in ('draft', 'active', 'retired'))
);

CREATE TABLE auto.jobs (
	id UUID NOT NULL, 
	code VARCHAR(32) NOT NULL, 
	name VARCHAR(160) NOT NULL, 
	handler VARCHAR(120) NOT NULL, 
	schedule_kind VARCHAR(24) NOT NULL, 
	cron VARCHAR(120), 
	interval_seconds INTEGER, 
	run_at TIMESTAMP WITH TIME ZONE, 
	timezone VARCHAR(64) NOT NULL, 
	payload JSONB NOT NULL, 
	max_retries SMALLINT NOT NULL, 
	timeout_seconds INTEGER NOT NULL, 
	concurrency VARCHAR(24) NOT NULL, 
	next_run_at TIMESTAMP WITH TIME ZONE, 
	last_run_at TIMESTAMP WITH TIME ZONE, 
	last_status VARCHAR(24), 
	consecutive_failures INTEGER NOT NULL, 
	status VARCHAR(24) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	CONSTRAINT pk_jobs PRIMARY KEY (id), 
	CONSTRAINT ck_jobs_schedule_kind CHECK (schedule_kind in ('cron', 'interval', 'once')), 
	CONSTRAINT ck_jobs_interval_seconds CHECK (interval_seconds >= 60), 
	CONSTRAINT ck_jobs_max_retries CHECK (max_retries >= 0 and max_retries <= 10), 
	CONSTRAINT ck_jobs_timeout_seconds CHECK (timeout_seconds >= 1 and timeout_seconds <= 86400), 
	CONSTRAINT ck_jobs_concurrency CHECK (concurrency in ('forbid', 'allow', 'replace')), 
	CONSTRAINT ck_jobs_status CHECK (status in ('active', 'paused'))
);

CREATE TABLE cnfg.feature_flags (
	id UUID NOT NULL, 
	key VARCHAR(120) NOT NULL, 
	name VARCHAR(160) NOT NULL, 
	description TEXT, 
	kind VARCHAR(24) NOT NULL, 
	default_on BOOLEAN NOT NULL, 
	rollout_pct NUMERIC(7, 4) NOT NULL, 
	owner_id UUID, 
	review_on DATE, 
	status VARCHAR(24) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	CONSTRAINT pk_feature_flags PRIMARY KEY (id), 
	CONSTRAINT fk_feature_flags_owner_id FOREIGN KEY(owner_id) REFERENCES idam.users (id) ON DELETE SET NULL, 
	CONSTRAINT ck_feature_flags_kind CHECK (kind in ('release', 'ops', 'experiment', 'permission')), 
	CONSTRAINT ck_feature_flags_rollout_pct CHECK (rollout_pct >= 0 and rollout_pct <= 100), 
	CONSTRAINT ck_feature_flags_status CHECK (status in ('active', 'archived'))
);

CREATE TABLE cnfg.settings (
	id UUID NOT NULL, 
	key VARCHAR(120) NOT NULL, 
	tenant_id UUID, 
	value JSONB, 
	secret_value JSONB, 
	value_type VARCHAR(24) NOT NULL, 
	schema JSONB, 
	description VARCHAR(255), 
	is_secret BOOLEAN NOT NULL, 
	is_public BOOLEAN NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	CONSTRAINT pk_settings PRIMARY KEY (id), 
	CONSTRAINT fk_settings_tenant_id FOREIGN KEY(tenant_id) REFERENCES tnnt.tenants (id) ON DELETE CASCADE, 
	CONSTRAINT ck_settings_value_type CHECK (value_type in ('string', 'int', 'number', 'bool', 'json'))
);

CREATE TABLE cxg_log_heads (
	log VARCHAR(160) NOT NULL, 
	tenant_id UUID NOT NULL, 
	rows BIGINT NOT NULL, 
	seal VARCHAR(64) NOT NULL, 
	signature TEXT NOT NULL, 
	pending_rows BIGINT, 
	pending_seal VARCHAR(64), 
	pending_signature TEXT, 
	CONSTRAINT pk_cxg_log_heads PRIMARY KEY (log, tenant_id)
);

CREATE TABLE intg.event_types (
	id UUID NOT NULL, 
	code VARCHAR(120) NOT NULL, 
	scope VARCHAR(24) NOT NULL, 
	description VARCHAR(255), 
	payload_schema JSONB NOT NULL, 
	revision INTEGER NOT NULL, 
	deprecated_at TIMESTAMP WITH TIME ZONE, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	CONSTRAINT pk_event_types PRIMARY KEY (id), 
	CONSTRAINT ck_event_types_scope CHECK (scope in ('manager', 'tenant'))
);

CREATE TABLE noti.channels (
	id UUID NOT NULL, 
	code VARCHAR(32) NOT NULL, 
	kind VARCHAR(24) NOT NULL, 
	from_address VARCHAR(254), 
	config JSONB NOT NULL, 
	rate_limit_per_minute INTEGER NOT NULL, 
	is_default BOOLEAN NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	CONSTRAINT pk_channels PRIMARY KEY (id), 
	CONSTRAINT ck_channels_kind CHECK (kind in ('email', 'sms', 'push', 'in_app', 'webhook')), 
	CONSTRAINT ck_channels_rate_limit_per_minute CHECK (rate_limit_per_minute > 0)
);

CREATE TABLE noti.preferences (
	id UUID NOT NULL, 
	user_id UUID NOT NULL, 
	category VARCHAR(24) NOT NULL, 
	channel_kind VARCHAR(24) NOT NULL, 
	enabled BOOLEAN NOT NULL, 
	quiet_from TIME WITHOUT TIME ZONE, 
	quiet_to TIME WITHOUT TIME ZONE, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	CONSTRAINT pk_preferences PRIMARY KEY (id), 
	CONSTRAINT ck_preferences_quiet_from_quiet_to CHECK ((quiet_from is null) = (quiet_to is null)), 
	CONSTRAINT fk_preferences_user_id FOREIGN KEY(user_id) REFERENCES idam.users (id) ON DELETE CASCADE, 
	CONSTRAINT ck_preferences_category CHECK (category in ('security', 'billing', 'product', 'support', 'system')), 
	CONSTRAINT ck_preferences_channel_kind CHECK (channel_kind in ('email', 'sms', 'push', 'in_app', 'webhook'))
);

CREATE TABLE noti.templates (
	id UUID NOT NULL, 
	code VARCHAR(32) NOT NULL, 
	channel_kind VARCHAR(24) NOT NULL, 
	locale VARCHAR(10) NOT NULL, 
	category VARCHAR(24) NOT NULL, 
	subject VARCHAR(200), 
	body TEXT NOT NULL, 
	variables JSONB NOT NULL, 
	revision INTEGER NOT NULL, 
	status VARCHAR(24) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	CONSTRAINT pk_templates PRIMARY KEY (id), 
	CONSTRAINT ck_templates_channel_kind CHECK (channel_kind in ('email', 'sms', 'push', 'in_app', 'webhook')), 
	CONSTRAINT ck_templates_category CHECK (category in ('security', 'billing', 'product', 'support', 'system')), 
	CONSTRAINT ck_templates_status CHECK (status in ('draft', 'published', 'archived'))
);

CREATE TABLE auto.job_runs (
	id UUID NOT NULL, 
	job_id UUID NOT NULL, 
	trigger VARCHAR(24) NOT NULL, 
	scheduled_for TIMESTAMP WITH TIME ZONE NOT NULL, 
	attempt SMALLINT NOT NULL, 
	started_at TIMESTAMP WITH TIME ZONE, 
	finished_at TIMESTAMP WITH TIME ZONE, 
	duration_ms INTEGER, 
	worker VARCHAR(64), 
	output JSONB, 
	error TEXT, 
	status VARCHAR(24) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	CONSTRAINT pk_job_runs PRIMARY KEY (id), 
	CONSTRAINT fk_job_runs_job_id FOREIGN KEY(job_id) REFERENCES auto.jobs (id) ON DELETE CASCADE, 
	CONSTRAINT ck_job_runs_trigger CHECK (trigger in ('schedule', 'manual', 'retry')), 
	CONSTRAINT ck_job_runs_status CHECK (status in ('queued', 'running', 'succeeded', 'failed', 'timed_out', 'canceled'))
);

CREATE TABLE auto.workflows (
	id UUID NOT NULL, 
	code VARCHAR(32) NOT NULL, 
	name VARCHAR(160) NOT NULL, 
	tenant_id UUID, 
	event_type_id UUID NOT NULL, 
	conditions JSONB NOT NULL, 
	actions JSONB NOT NULL, 
	priority INTEGER NOT NULL, 
	max_runs_per_hour INTEGER NOT NULL, 
	revision INTEGER NOT NULL, 
	status VARCHAR(24) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	CONSTRAINT pk_workflows PRIMARY KEY (id), 
	CONSTRAINT fk_workflows_tenant_id FOREIGN KEY(tenant_id) REFERENCES tnnt.tenants (id) ON DELETE CASCADE, 
	CONSTRAINT fk_workflows_event_type_id FOREIGN KEY(event_type_id) REFERENCES intg.event_types (id) ON DELETE RESTRICT, 
	CONSTRAINT ck_workflows_max_runs_per_hour CHECK (max_runs_per_hour > 0), 
	CONSTRAINT ck_workflows_status CHECK (status in ('draft', 'active', 'disabled'))
);

CREATE TABLE cnfg.flag_overrides (
	id UUID NOT NULL, 
	flag_id UUID NOT NULL, 
	tenant_id UUID, 
	user_id UUID, 
	value BOOLEAN NOT NULL, 
	expires_at TIMESTAMP WITH TIME ZONE, 
	reason VARCHAR(255), 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	CONSTRAINT pk_flag_overrides PRIMARY KEY (id), 
	CONSTRAINT ck_flag_overrides_tenant_id_user_id CHECK ((tenant_id is null) <> (user_id is null)), 
	CONSTRAINT fk_flag_overrides_flag_id FOREIGN KEY(flag_id) REFERENCES cnfg.feature_flags (id) ON DELETE CASCADE, 
	CONSTRAINT fk_flag_overrides_tenant_id FOREIGN KEY(tenant_id) REFERENCES tnnt.tenants (id) ON DELETE CASCADE, 
	CONSTRAINT fk_flag_overrides_user_id FOREIGN KEY(user_id) REFERENCES idam.users (id) ON DELETE CASCADE
);

CREATE TABLE noti.notifications (
	id UUID NOT NULL, 
	template_id UUID NOT NULL, 
	channel_id UUID, 
	user_id UUID, 
	address VARCHAR(254), 
	tenant_id UUID, 
	variables JSONB NOT NULL, 
	dedupe_key VARCHAR(120), 
	scheduled_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	rendered_subject VARCHAR(200), 
	rendered_body TEXT, 
	attempts SMALLINT NOT NULL, 
	next_attempt_at TIMESTAMP WITH TIME ZONE, 
	sent_at TIMESTAMP WITH TIME ZONE, 
	read_at TIMESTAMP WITH TIME ZONE, 
	error VARCHAR(500), 
	status VARCHAR(24) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	CONSTRAINT pk_notifications PRIMARY KEY (id), 
	CONSTRAINT ck_notifications_user_id_address CHECK (user_id is not null or address is not null), 
	CONSTRAINT fk_notifications_template_id FOREIGN KEY(template_id) REFERENCES noti.templates (id) ON DELETE RESTRICT, 
	CONSTRAINT fk_notifications_channel_id FOREIGN KEY(channel_id) REFERENCES noti.channels (id) ON DELETE RESTRICT, 
	CONSTRAINT fk_notifications_user_id FOREIGN KEY(user_id) REFERENCES idam.users (id) ON DELETE CASCADE, 
	CONSTRAINT fk_notifications_tenant_id FOREIGN KEY(tenant_id) REFERENCES tnnt.tenants (id) ON DELETE CASCADE, 
	CONSTRAINT ck_notifications_status CHECK (status in ('queued', 'sent', 'delivered', 'read', 'failed', 'skipped', 'canceled'))
);

CREATE TABLE auto.workflow_runs (
	id UUID NOT NULL, 
	workflow_id UUID NOT NULL, 
	revision INTEGER NOT NULL, 
	event_id UUID NOT NULL, 
	depth SMALLINT NOT NULL, 
	subject VARCHAR(160), 
	steps JSONB NOT NULL, 
	started_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	finished_at TIMESTAMP WITH TIME ZONE, 
	error TEXT, 
	status VARCHAR(24) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	CONSTRAINT pk_workflow_runs PRIMARY KEY (id), 
	CONSTRAINT fk_workflow_runs_workflow_id FOREIGN KEY(workflow_id) REFERENCES auto.workflows (id) ON DELETE CASCADE, 
	CONSTRAINT ck_workflow_runs_status CHECK (status in ('running', 'succeeded', 'failed', 'skipped'))
);

CREATE UNIQUE INDEX uq_data_requests_number ON audt.data_requests (number) WHERE is_active;

CREATE UNIQUE INDEX uq_policies_code ON audt.policies (code) WHERE is_active;

CREATE INDEX ix_job_runs_job_id_fk ON auto.job_runs (job_id);

CREATE INDEX ix_job_runs_open ON auto.job_runs (scheduled_for) WHERE finished_at IS NULL;

CREATE UNIQUE INDEX uq_job_runs_job_id_scheduled_for_attempt ON auto.job_runs (job_id, scheduled_for, attempt) WHERE is_active;

CREATE UNIQUE INDEX uq_jobs_code ON auto.jobs (code) WHERE is_active;

CREATE INDEX ix_workflow_runs_workflow_id_fk ON auto.workflow_runs (workflow_id);

CREATE UNIQUE INDEX uq_workflow_runs_workflow_id_event_id ON auto.workflow_runs (workflow_id, event_id) WHERE is_active;

CREATE INDEX ix_workflows_event_type_id_fk ON auto.workflows (event_type_id);

CREATE UNIQUE INDEX uq_workflows_code ON auto.workflows (code) WHERE is_active;

CREATE INDEX ix_feature_flags_owner_id_fk ON cnfg.feature_flags (owner_id);

CREATE UNIQUE INDEX uq_feature_flags_key ON cnfg.feature_flags (key) WHERE is_active;

CREATE INDEX ix_flag_overrides_flag_id_fk ON cnfg.flag_overrides (flag_id);

CREATE INDEX ix_flag_overrides_user_id_fk ON cnfg.flag_overrides (user_id);

CREATE UNIQUE INDEX uq_flag_overrides_flag_id_tenant_id_user_id ON cnfg.flag_overrides (flag_id, tenant_id, user_id) NULLS NOT DISTINCT WHERE is_active;

CREATE UNIQUE INDEX uq_settings_key_tenant_id ON cnfg.settings (key, tenant_id) NULLS NOT DISTINCT WHERE is_active;

CREATE UNIQUE INDEX uq_event_types_code ON intg.event_types (code) WHERE is_active;

CREATE UNIQUE INDEX uq_channels_code ON noti.channels (code) WHERE is_active;

CREATE UNIQUE INDEX uq_channels_kind ON noti.channels (kind) WHERE is_active and (is_default);

CREATE INDEX ix_notifications_channel_id_fk ON noti.notifications (channel_id);

CREATE INDEX ix_notifications_template_id_fk ON noti.notifications (template_id);

CREATE INDEX ix_notifications_user_id_fk ON noti.notifications (user_id);

CREATE INDEX ix_preferences_user_id_fk ON noti.preferences (user_id);

CREATE UNIQUE INDEX uq_preferences_user_id_category_channel_kind ON noti.preferences (user_id, category, channel_kind) WHERE is_active;

CREATE UNIQUE INDEX uq_templates_code_channel_kind_locale_revision ON noti.templates (code, channel_kind, locale, revision) WHERE is_active;

ALTER TABLE bill.dunning_notices ADD CONSTRAINT fk_dunning_notices_notification_id FOREIGN KEY(notification_id) REFERENCES noti.notifications (id) ON DELETE SET NULL;

GRANT USAGE ON SCHEMA audt, auto, cnfg, intg, noti TO :"runtime_role";

GRANT DELETE, INSERT, SELECT, UPDATE ON auto.jobs, auto.job_runs, auto.workflows, auto.workflow_runs, intg.event_types, noti.templates, noti.channels, noti.notifications, noti.preferences, audt.login_events, audt.policies, audt.data_requests, cnfg.settings, cnfg.feature_flags, cnfg.flag_overrides, cxg_log_heads TO :"runtime_role";
