CREATE SCHEMA IF NOT EXISTS apm;

CREATE SCHEMA IF NOT EXISTS fim;

CREATE SCHEMA IF NOT EXISTS pim;

CREATE EXTENSION IF NOT EXISTS btree_gist;

CREATE INDEX ix_activities_owner_id_fk ON crm.activities (tenant_id, owner_id);

CREATE INDEX ix_customers_owner_id_fk ON crm.customers (tenant_id, owner_id);

CREATE INDEX ix_customers_price_list_id_fk ON crm.customers (tenant_id, price_list_id);

CREATE INDEX ix_leads_owner_id_fk ON crm.leads (tenant_id, owner_id);

CREATE INDEX ix_opportunities_owner_id_fk ON crm.opportunities (tenant_id, owner_id);

CREATE INDEX ix_audit_logs_unsealed ON sys.audit_logs (tenant_id, id) WHERE seal is null;

CREATE TABLE fim.accounts (
	id UUID NOT NULL, 
	code VARCHAR(20) NOT NULL, 
	name VARCHAR(160) NOT NULL, 
	type VARCHAR(24) NOT NULL, 
	parent_id UUID, 
	is_group BOOLEAN NOT NULL, 
	currency VARCHAR(3), 
	system_role VARCHAR(24), 
	allow_manual BOOLEAN NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_accounts PRIMARY KEY (tenant_id, id), 
	CONSTRAINT ck_accounts_type CHECK (type in ('asset', 'liability', 'equity', 'income', 'expense')), 
	CONSTRAINT ck_accounts_system_role CHECK (system_role in ('bank', 'ar', 'ap', 'inventory', 'grni', 'cogs', 'revenue', 'expense', 'tax_output', 'tax_input', 'price_variance', 'inventory_adjustment', 'payroll_expense', 'payroll_payable', 'payroll_tax_payable', 'fx_gain_loss', 'disposal_gain_loss', 'rounding', 'bad_debt', 'retained_earnings')), 
	CONSTRAINT fk_accounts_parent_id FOREIGN KEY(tenant_id, parent_id) REFERENCES fim.accounts (tenant_id, id) ON DELETE RESTRICT
);

CREATE TABLE fim.cost_centers (
	id UUID NOT NULL, 
	code VARCHAR(32) NOT NULL, 
	name VARCHAR(160) NOT NULL, 
	parent_id UUID, 
	manager_id UUID, 
	valid_from DATE, 
	valid_until DATE, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_cost_centers PRIMARY KEY (tenant_id, id), 
	CONSTRAINT ck_cost_centers_valid_until_valid_from CHECK (valid_until is null or valid_from is null or valid_until >= valid_from), 
	CONSTRAINT fk_cost_centers_parent_id FOREIGN KEY(tenant_id, parent_id) REFERENCES fim.cost_centers (tenant_id, id) ON DELETE RESTRICT
);

CREATE TABLE fim.currencies (
	id UUID NOT NULL, 
	code VARCHAR(3) NOT NULL, 
	name VARCHAR(160) NOT NULL, 
	symbol VARCHAR(8), 
	decimal_places SMALLINT NOT NULL, 
	is_base BOOLEAN NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_currencies PRIMARY KEY (tenant_id, id), 
	CONSTRAINT ck_currencies_decimal_places CHECK (decimal_places >= 0 and decimal_places <= 4)
);

CREATE TABLE fim.exchange_rates (
	id UUID NOT NULL, 
	from_currency VARCHAR(3) NOT NULL, 
	to_currency VARCHAR(3) NOT NULL, 
	rate_date DATE NOT NULL, 
	rate NUMERIC(18, 8) NOT NULL, 
	source VARCHAR(32) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_exchange_rates PRIMARY KEY (tenant_id, id), 
	CONSTRAINT ck_exchange_rates_from_currency_to_currency CHECK (from_currency <> to_currency), 
	CONSTRAINT ck_exchange_rates_rate CHECK (rate > 0)
);

CREATE TABLE fim.fiscal_periods (
	id UUID NOT NULL, 
	code VARCHAR(16) NOT NULL, 
	fiscal_year SMALLINT NOT NULL, 
	number SMALLINT NOT NULL, 
	start_date DATE NOT NULL, 
	end_date DATE NOT NULL, 
	closed_at TIMESTAMP WITH TIME ZONE, 
	closed_by UUID, 
	status VARCHAR(24) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_fiscal_periods PRIMARY KEY (tenant_id, id), 
	CONSTRAINT ck_fiscal_periods_end_date_start_date CHECK (end_date >= start_date), 
	CONSTRAINT ck_fiscal_periods_number CHECK (number >= 1 and number <= 13), 
	CONSTRAINT ck_fiscal_periods_status CHECK (status in ('open', 'closed', 'locked')), 
	CONSTRAINT ex_fiscal_periods_start_date EXCLUDE USING gist (tenant_id WITH =, daterange(start_date, end_date, '[]') WITH &&) WHERE (is_active)
);

CREATE TABLE pim.price_lists (
	id UUID NOT NULL, 
	code VARCHAR(32) NOT NULL, 
	name VARCHAR(160) NOT NULL, 
	kind VARCHAR(24) NOT NULL, 
	currency VARCHAR(3) NOT NULL, 
	valid_from DATE NOT NULL, 
	valid_until DATE, 
	is_default BOOLEAN NOT NULL, 
	status VARCHAR(24) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_price_lists PRIMARY KEY (tenant_id, id), 
	CONSTRAINT ck_price_lists_valid_until_valid_from CHECK (valid_until is null or valid_until >= valid_from), 
	CONSTRAINT ck_price_lists_kind CHECK (kind in ('sale', 'purchase')), 
	CONSTRAINT ck_price_lists_status CHECK (status in ('draft', 'active', 'expired'))
);

CREATE TABLE pim.units (
	id UUID NOT NULL, 
	code VARCHAR(32) NOT NULL, 
	name VARCHAR(160) NOT NULL, 
	dimension VARCHAR(24) NOT NULL, 
	factor NUMERIC(20, 10) NOT NULL, 
	is_base BOOLEAN NOT NULL, 
	decimals SMALLINT NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_units PRIMARY KEY (tenant_id, id), 
	CONSTRAINT ck_units_is_base_factor CHECK (not is_base or factor = 1), 
	CONSTRAINT ck_units_dimension CHECK (dimension in ('count', 'mass', 'length', 'area', 'volume', 'time')), 
	CONSTRAINT ck_units_factor CHECK (factor > 0), 
	CONSTRAINT ck_units_decimals CHECK (decimals >= 0 and decimals <= 4)
);

CREATE TABLE sys.attachments (
	id UUID NOT NULL, 
	owner_type VARCHAR(64) NOT NULL, 
	owner_id UUID NOT NULL, 
	file_name VARCHAR(255) NOT NULL, 
	content_type VARCHAR(120) NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	checksum VARCHAR(64) NOT NULL, 
	storage_key VARCHAR(512) NOT NULL, 
	label VARCHAR(120), 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_attachments PRIMARY KEY (tenant_id, id), 
	CONSTRAINT ck_attachments_size_bytes CHECK (size_bytes >= 1 and size_bytes <= 26214400)
);

CREATE TABLE sys.roles (
	id UUID NOT NULL, 
	code VARCHAR(32) NOT NULL, 
	name VARCHAR(160) NOT NULL, 
	description TEXT, 
	permissions JSONB NOT NULL, 
	is_system BOOLEAN NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_roles PRIMARY KEY (tenant_id, id)
);

CREATE TABLE sys.settings (
	id UUID NOT NULL, 
	key VARCHAR(120) NOT NULL, 
	value JSONB NOT NULL, 
	value_type VARCHAR(24) NOT NULL, 
	description VARCHAR(255), 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_settings PRIMARY KEY (tenant_id, id), 
	CONSTRAINT ck_settings_value_type CHECK (value_type in ('string', 'int', 'number', 'bool', 'json'))
);

CREATE TABLE sys.users (
	id UUID NOT NULL, 
	identity_id UUID NOT NULL, 
	email VARCHAR(254) NOT NULL, 
	display_name VARCHAR(160) NOT NULL, 
	member_role VARCHAR(24) NOT NULL, 
	job_title VARCHAR(120), 
	phone VARCHAR(20), 
	locale VARCHAR(10) NOT NULL, 
	timezone VARCHAR(64) NOT NULL, 
	signature TEXT, 
	last_seen_at TIMESTAMP WITH TIME ZONE, 
	status VARCHAR(24) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_users PRIMARY KEY (tenant_id, id), 
	CONSTRAINT ck_users_member_role CHECK (member_role in ('owner', 'admin', 'member', 'guest')), 
	CONSTRAINT ck_users_status CHECK (status in ('active', 'suspended'))
);

CREATE TABLE fim.budgets (
	id UUID NOT NULL, 
	fiscal_year SMALLINT NOT NULL, 
	period_number SMALLINT NOT NULL, 
	account_id UUID NOT NULL, 
	cost_center_id UUID, 
	amount NUMERIC(19, 4) NOT NULL, 
	control VARCHAR(24) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_budgets PRIMARY KEY (tenant_id, id), 
	CONSTRAINT ck_budgets_period_number CHECK (period_number >= 1 and period_number <= 12), 
	CONSTRAINT ck_budgets_amount CHECK (amount >= 0), 
	CONSTRAINT ck_budgets_control CHECK (control in ('none', 'warn', 'block')), 
	CONSTRAINT fk_budgets_account_id FOREIGN KEY(tenant_id, account_id) REFERENCES fim.accounts (tenant_id, id) ON DELETE RESTRICT, 
	CONSTRAINT fk_budgets_cost_center_id FOREIGN KEY(tenant_id, cost_center_id) REFERENCES fim.cost_centers (tenant_id, id) ON DELETE RESTRICT
);

CREATE TABLE fim.journal_entries (
	id UUID NOT NULL, 
	number VARCHAR(32), 
	entry_date DATE NOT NULL, 
	period_id UUID NOT NULL, 
	kind VARCHAR(24) NOT NULL, 
	memo VARCHAR(255), 
	currency VARCHAR(3) NOT NULL, 
	exchange_rate NUMERIC(18, 8) NOT NULL, 
	source_type VARCHAR(64), 
	source_id UUID, 
	source_key VARCHAR(40), 
	total_debit NUMERIC(19, 4) NOT NULL, 
	total_credit NUMERIC(19, 4) NOT NULL, 
	reversal_of_id UUID, 
	reversed_by_id UUID, 
	posted_at TIMESTAMP WITH TIME ZONE, 
	posted_by UUID, 
	status VARCHAR(24) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_journal_entries PRIMARY KEY (tenant_id, id), 
	CONSTRAINT ck_journal_entries_kind CHECK (kind in ('manual', 'sales', 'purchase', 'payment', 'inventory', 'payroll', 'asset', 'fx', 'reversal', 'closing')), 
	CONSTRAINT ck_journal_entries_exchange_rate CHECK (exchange_rate > 0), 
	CONSTRAINT ck_journal_entries_status CHECK (status in ('draft', 'posted', 'reversed')), 
	CONSTRAINT fk_journal_entries_period_id FOREIGN KEY(tenant_id, period_id) REFERENCES fim.fiscal_periods (tenant_id, id) ON DELETE RESTRICT, 
	CONSTRAINT fk_journal_entries_reversal_of_id FOREIGN KEY(tenant_id, reversal_of_id) REFERENCES fim.journal_entries (tenant_id, id) ON DELETE RESTRICT, 
	CONSTRAINT fk_journal_entries_reversed_by_id FOREIGN KEY(tenant_id, reversed_by_id) REFERENCES fim.journal_entries (tenant_id, id) ON DELETE RESTRICT
);

CREATE TABLE fim.tax_codes (
	id UUID NOT NULL, 
	code VARCHAR(32) NOT NULL, 
	name VARCHAR(160) NOT NULL, 
	kind VARCHAR(24) NOT NULL, 
	rate NUMERIC(7, 4) NOT NULL, 
	valid_from DATE NOT NULL, 
	valid_until DATE, 
	account_id UUID, 
	country VARCHAR(2), 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_tax_codes PRIMARY KEY (tenant_id, id), 
	CONSTRAINT ck_tax_codes_valid_from_valid_until CHECK (valid_until is null or valid_until >= valid_from), 
	CONSTRAINT ck_tax_codes_kind CHECK (kind in ('sales', 'purchase', 'both')), 
	CONSTRAINT ck_tax_codes_rate CHECK (rate >= 0 and rate <= 100), 
	CONSTRAINT ex_tax_codes_code_valid_from EXCLUDE USING gist (tenant_id WITH =, code WITH =, daterange(valid_from, valid_until, '[]') WITH &&) WHERE (is_active), 
	CONSTRAINT fk_tax_codes_account_id FOREIGN KEY(tenant_id, account_id) REFERENCES fim.accounts (tenant_id, id) ON DELETE RESTRICT
);

CREATE TABLE pim.categories (
	id UUID NOT NULL, 
	code VARCHAR(32) NOT NULL, 
	name VARCHAR(160) NOT NULL, 
	parent_id UUID, 
	path VARCHAR(512) NOT NULL, 
	depth SMALLINT NOT NULL, 
	attributes JSONB NOT NULL, 
	revenue_account_id UUID, 
	cogs_account_id UUID, 
	inventory_account_id UUID, 
	expense_account_id UUID, 
	sort_order INTEGER NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_categories PRIMARY KEY (tenant_id, id), 
	CONSTRAINT fk_categories_cogs_account_id FOREIGN KEY(tenant_id, cogs_account_id) REFERENCES fim.accounts (tenant_id, id) ON DELETE RESTRICT, 
	CONSTRAINT fk_categories_expense_account_id FOREIGN KEY(tenant_id, expense_account_id) REFERENCES fim.accounts (tenant_id, id) ON DELETE RESTRICT, 
	CONSTRAINT fk_categories_inventory_account_id FOREIGN KEY(tenant_id, inventory_account_id) REFERENCES fim.accounts (tenant_id, id) ON DELETE RESTRICT, 
	CONSTRAINT fk_categories_parent_id FOREIGN KEY(tenant_id, parent_id) REFERENCES pim.categories (tenant_id, id) ON DELETE RESTRICT, 
	CONSTRAINT fk_categories_revenue_account_id FOREIGN KEY(tenant_id, revenue_account_id) REFERENCES fim.accounts (tenant_id, id) ON DELETE RESTRICT
);

CREATE TABLE sys.approval_requests (
	id UUID NOT NULL, 
	document_type VARCHAR(24) NOT NULL, 
	document_id UUID NOT NULL, 
	document_number VARCHAR(32), 
	amount NUMERIC(19, 4) NOT NULL, 
	level SMALLINT NOT NULL, 
	approver_role_id UUID NOT NULL, 
	requested_by UUID NOT NULL, 
	due_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	decided_by UUID, 
	decided_at TIMESTAMP WITH TIME ZONE, 
	reason VARCHAR(500), 
	status VARCHAR(24) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_approval_requests PRIMARY KEY (tenant_id, id), 
	CONSTRAINT ck_approval_requests_document_type CHECK (document_type in ('sales_order', 'purchase_order', 'purchase_requisition', 'payment')), 
	CONSTRAINT ck_approval_requests_status CHECK (status in ('pending', 'approved', 'rejected', 'canceled')), 
	CONSTRAINT fk_approval_requests_approver_role_id FOREIGN KEY(tenant_id, approver_role_id) REFERENCES sys.roles (tenant_id, id) ON DELETE RESTRICT
);

CREATE TABLE sys.approval_rules (
	id UUID NOT NULL, 
	name VARCHAR(160) NOT NULL, 
	document_type VARCHAR(24) NOT NULL, 
	min_amount NUMERIC(19, 4) NOT NULL, 
	max_amount NUMERIC(19, 4), 
	level SMALLINT NOT NULL, 
	approver_role_id UUID NOT NULL, 
	due_hours INTEGER NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_approval_rules PRIMARY KEY (tenant_id, id), 
	CONSTRAINT ck_approval_rules_max_amount_min_amount CHECK (max_amount is null or max_amount > min_amount), 
	CONSTRAINT ck_approval_rules_document_type CHECK (document_type in ('sales_order', 'purchase_order', 'purchase_requisition', 'payment')), 
	CONSTRAINT ck_approval_rules_min_amount CHECK (min_amount >= 0), 
	CONSTRAINT ck_approval_rules_level CHECK (level >= 1 and level <= 5), 
	CONSTRAINT ck_approval_rules_due_hours CHECK (due_hours > 0), 
	CONSTRAINT fk_approval_rules_approver_role_id FOREIGN KEY(tenant_id, approver_role_id) REFERENCES sys.roles (tenant_id, id) ON DELETE RESTRICT
);

CREATE TABLE sys.user_roles (
	id UUID NOT NULL, 
	user_id UUID NOT NULL, 
	role_id UUID NOT NULL, 
	valid_from DATE NOT NULL, 
	valid_until DATE, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_user_roles PRIMARY KEY (tenant_id, id), 
	CONSTRAINT ck_user_roles_valid_until_valid_from CHECK (valid_until is null or valid_until >= valid_from), 
	CONSTRAINT fk_user_roles_role_id FOREIGN KEY(tenant_id, role_id) REFERENCES sys.roles (tenant_id, id) ON DELETE RESTRICT, 
	CONSTRAINT fk_user_roles_user_id FOREIGN KEY(tenant_id, user_id) REFERENCES sys.users (tenant_id, id) ON DELETE CASCADE
);

CREATE TABLE apm.payments (
	id UUID NOT NULL, 
	number VARCHAR(32), 
	direction VARCHAR(24) NOT NULL, 
	customer_id UUID, 
	supplier_id UUID, 
	account_id UUID NOT NULL, 
	payment_date DATE NOT NULL, 
	method VARCHAR(24) NOT NULL, 
	currency VARCHAR(3) NOT NULL, 
	exchange_rate NUMERIC(18, 8) NOT NULL, 
	amount NUMERIC(19, 4) NOT NULL, 
	base_amount NUMERIC(19, 4) NOT NULL, 
	unallocated NUMERIC(19, 4) NOT NULL, 
	reference VARCHAR(64), 
	reconciled_on DATE, 
	statement_ref VARCHAR(64), 
	journal_entry_id UUID, 
	status VARCHAR(24) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_payments PRIMARY KEY (tenant_id, id), 
	CONSTRAINT ck_payments_customer_id_supplier_id CHECK ((customer_id is null) <> (supplier_id is null)), 
	CONSTRAINT ck_payments_direction CHECK (direction in ('in', 'out')), 
	CONSTRAINT ck_payments_method CHECK (method in ('bank_transfer', 'card', 'cash', 'cheque', 'direct_debit')), 
	CONSTRAINT ck_payments_exchange_rate CHECK (exchange_rate > 0), 
	CONSTRAINT ck_payments_amount CHECK (amount > 0), 
	CONSTRAINT ck_payments_status CHECK (status in ('draft', 'pending_approval', 'posted', 'reconciled', 'reversed')), 
	CONSTRAINT fk_payments_account_id FOREIGN KEY(tenant_id, account_id) REFERENCES fim.accounts (tenant_id, id) ON DELETE RESTRICT, 
	CONSTRAINT fk_payments_customer_id FOREIGN KEY(tenant_id, customer_id) REFERENCES crm.customers (tenant_id, id) ON DELETE RESTRICT, 
	CONSTRAINT fk_payments_journal_entry_id FOREIGN KEY(tenant_id, journal_entry_id) REFERENCES fim.journal_entries (tenant_id, id) ON DELETE RESTRICT
);

CREATE TABLE apm.purchase_invoices (
	id UUID NOT NULL, 
	number VARCHAR(32), 
	supplier_id UUID NOT NULL, 
	supplier_invoice_no VARCHAR(64) NOT NULL, 
	purchase_order_id UUID, 
	invoice_date DATE NOT NULL, 
	due_date DATE NOT NULL, 
	amount_paid NUMERIC(19, 4) NOT NULL, 
	amount_due NUMERIC(19, 4) NOT NULL, 
	match_state VARCHAR(24) NOT NULL, 
	match_note VARCHAR(500), 
	override_reason VARCHAR(255), 
	journal_entry_id UUID, 
	posted_at TIMESTAMP WITH TIME ZONE, 
	currency VARCHAR(3) NOT NULL, 
	exchange_rate NUMERIC(18, 8) NOT NULL, 
	subtotal NUMERIC(19, 4) NOT NULL, 
	tax_total NUMERIC(19, 4) NOT NULL, 
	total NUMERIC(19, 4) NOT NULL, 
	base_total NUMERIC(19, 4) NOT NULL, 
	status VARCHAR(24) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_purchase_invoices PRIMARY KEY (tenant_id, id), 
	CONSTRAINT ck_purchase_invoices_due_date_invoice_date CHECK (due_date >= invoice_date), 
	CONSTRAINT ck_purchase_invoices_match_state CHECK (match_state in ('none', 'matched', 'exception', 'overridden')), 
	CONSTRAINT ck_purchase_invoices_exchange_rate CHECK (exchange_rate > 0), 
	CONSTRAINT ck_purchase_invoices_status CHECK (status in ('draft', 'match_exception', 'posted', 'paid')), 
	CONSTRAINT fk_purchase_invoices_journal_entry_id FOREIGN KEY(tenant_id, journal_entry_id) REFERENCES fim.journal_entries (tenant_id, id) ON DELETE RESTRICT
);

CREATE TABLE apm.sales_invoices (
	id UUID NOT NULL, 
	number VARCHAR(32), 
	kind VARCHAR(24) NOT NULL, 
	customer_id UUID NOT NULL, 
	sales_order_id UUID, 
	original_invoice_id UUID, 
	invoice_date DATE NOT NULL, 
	due_date DATE NOT NULL, 
	amount_paid NUMERIC(19, 4) NOT NULL, 
	amount_credited NUMERIC(19, 4) NOT NULL, 
	amount_due NUMERIC(19, 4) NOT NULL, 
	source_type VARCHAR(64), 
	source_id UUID, 
	journal_entry_id UUID, 
	posted_at TIMESTAMP WITH TIME ZONE, 
	notes TEXT, 
	currency VARCHAR(3) NOT NULL, 
	exchange_rate NUMERIC(18, 8) NOT NULL, 
	subtotal NUMERIC(19, 4) NOT NULL, 
	tax_total NUMERIC(19, 4) NOT NULL, 
	total NUMERIC(19, 4) NOT NULL, 
	base_total NUMERIC(19, 4) NOT NULL, 
	status VARCHAR(24) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_sales_invoices PRIMARY KEY (tenant_id, id), 
	CONSTRAINT ck_sales_invoices_due_date_invoice_date CHECK (due_date >= invoice_date), 
	CONSTRAINT ck_sales_invoices_kind_original_invoice_id CHECK ((kind = 'credit_note') = (original_invoice_id is not null)), 
	CONSTRAINT ck_sales_invoices_kind CHECK (kind in ('invoice', 'credit_note')), 
	CONSTRAINT ck_sales_invoices_exchange_rate CHECK (exchange_rate > 0), 
	CONSTRAINT ck_sales_invoices_status CHECK (status in ('draft', 'posted', 'paid', 'credited', 'written_off')), 
	CONSTRAINT fk_sales_invoices_customer_id FOREIGN KEY(tenant_id, customer_id) REFERENCES crm.customers (tenant_id, id) ON DELETE RESTRICT, 
	CONSTRAINT fk_sales_invoices_journal_entry_id FOREIGN KEY(tenant_id, journal_entry_id) REFERENCES fim.journal_entries (tenant_id, id) ON DELETE RESTRICT, 
	CONSTRAINT fk_sales_invoices_original_invoice_id FOREIGN KEY(tenant_id, original_invoice_id) REFERENCES apm.sales_invoices (tenant_id, id) ON DELETE RESTRICT
);

CREATE TABLE fim.journal_lines (
	id UUID NOT NULL, 
	journal_entry_id UUID NOT NULL, 
	position INTEGER NOT NULL, 
	account_id UUID NOT NULL, 
	description VARCHAR(255), 
	debit NUMERIC(19, 4) NOT NULL, 
	credit NUMERIC(19, 4) NOT NULL, 
	base_debit NUMERIC(19, 4) NOT NULL, 
	base_credit NUMERIC(19, 4) NOT NULL, 
	cost_center_id UUID, 
	customer_id UUID, 
	supplier_id UUID, 
	tax_code_id UUID, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_journal_lines PRIMARY KEY (tenant_id, id), 
	CONSTRAINT ck_journal_lines_debit_credit CHECK ((debit = 0) <> (credit = 0)), 
	CONSTRAINT ck_journal_lines_debit CHECK (debit >= 0), 
	CONSTRAINT ck_journal_lines_credit CHECK (credit >= 0), 
	CONSTRAINT fk_journal_lines_account_id FOREIGN KEY(tenant_id, account_id) REFERENCES fim.accounts (tenant_id, id) ON DELETE RESTRICT, 
	CONSTRAINT fk_journal_lines_cost_center_id FOREIGN KEY(tenant_id, cost_center_id) REFERENCES fim.cost_centers (tenant_id, id) ON DELETE RESTRICT, 
	CONSTRAINT fk_journal_lines_customer_id FOREIGN KEY(tenant_id, customer_id) REFERENCES crm.customers (tenant_id, id) ON DELETE RESTRICT, 
	CONSTRAINT fk_journal_lines_journal_entry_id FOREIGN KEY(tenant_id, journal_entry_id) REFERENCES fim.journal_entries (tenant_id, id) ON DELETE CASCADE, 
	CONSTRAINT fk_journal_lines_tax_code_id FOREIGN KEY(tenant_id, tax_code_id) REFERENCES fim.tax_codes (tenant_id, id) ON DELETE RESTRICT
);

CREATE TABLE pim.products (
	id UUID NOT NULL, 
	sku VARCHAR(32) NOT NULL, 
	name VARCHAR(160) NOT NULL, 
	description TEXT, 
	category_id UUID NOT NULL, 
	kind VARCHAR(24) NOT NULL, 
	unit_id UUID NOT NULL, 
	tracking VARCHAR(24) NOT NULL, 
	valuation VARCHAR(24) NOT NULL, 
	sale_tax_code VARCHAR(32), 
	purchase_tax_code VARCHAR(32), 
	list_price NUMERIC(19, 6) NOT NULL, 
	standard_cost NUMERIC(19, 6), 
	brand VARCHAR(120), 
	weight_kg NUMERIC(18, 4), 
	warranty_months SMALLINT NOT NULL, 
	attributes JSONB NOT NULL, 
	can_sell BOOLEAN NOT NULL, 
	can_buy BOOLEAN NOT NULL, 
	status VARCHAR(24) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_products PRIMARY KEY (tenant_id, id), 
	CONSTRAINT ck_products_valuation_standard_cost CHECK (valuation = 'average' or standard_cost is not null), 
	CONSTRAINT ck_products_kind_tracking CHECK (kind = 'goods' or tracking = 'none'), 
	CONSTRAINT ck_products_kind CHECK (kind in ('goods', 'service', 'consumable')), 
	CONSTRAINT ck_products_tracking CHECK (tracking in ('none', 'lot', 'serial')), 
	CONSTRAINT ck_products_valuation CHECK (valuation in ('average', 'standard')), 
	CONSTRAINT ck_products_list_price CHECK (list_price >= 0), 
	CONSTRAINT ck_products_standard_cost CHECK (standard_cost >= 0), 
	CONSTRAINT ck_products_weight_kg CHECK (weight_kg >= 0), 
	CONSTRAINT ck_products_warranty_months CHECK (warranty_months >= 0 and warranty_months <= 240), 
	CONSTRAINT ck_products_status CHECK (status in ('draft', 'active', 'discontinued', 'archived')), 
	CONSTRAINT fk_products_category_id FOREIGN KEY(tenant_id, category_id) REFERENCES pim.categories (tenant_id, id) ON DELETE RESTRICT, 
	CONSTRAINT fk_products_unit_id FOREIGN KEY(tenant_id, unit_id) REFERENCES pim.units (tenant_id, id) ON DELETE RESTRICT
);

CREATE TABLE apm.payment_allocations (
	id UUID NOT NULL, 
	payment_id UUID NOT NULL, 
	sales_invoice_id UUID, 
	purchase_invoice_id UUID, 
	amount NUMERIC(19, 4) NOT NULL, 
	fx_difference NUMERIC(19, 4) NOT NULL, 
	journal_entry_id UUID, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_payment_allocations PRIMARY KEY (tenant_id, id), 
	CONSTRAINT ck_payment_allocations_sales_invoice_id_purchase_invoice_id CHECK ((sales_invoice_id is null) <> (purchase_invoice_id is null)), 
	CONSTRAINT ck_payment_allocations_amount CHECK (amount > 0), 
	CONSTRAINT fk_payment_allocations_journal_entry_id FOREIGN KEY(tenant_id, journal_entry_id) REFERENCES fim.journal_entries (tenant_id, id) ON DELETE RESTRICT, 
	CONSTRAINT fk_payment_allocations_payment_id FOREIGN KEY(tenant_id, payment_id) REFERENCES apm.payments (tenant_id, id) ON DELETE CASCADE, 
	CONSTRAINT fk_payment_allocations_purchase_invoice_id FOREIGN KEY(tenant_id, purchase_invoice_id) REFERENCES apm.purchase_invoices (tenant_id, id) ON DELETE RESTRICT, 
	CONSTRAINT fk_payment_allocations_sales_invoice_id FOREIGN KEY(tenant_id, sales_invoice_id) REFERENCES apm.sales_invoices (tenant_id, id) ON DELETE RESTRICT
);

CREATE TABLE apm.purchase_invoice_lines (
	id UUID NOT NULL, 
	purchase_invoice_id UUID NOT NULL, 
	purchase_order_line_id UUID, 
	account_id UUID, 
	asset_category_id UUID, 
	cost_center_id UUID, 
	match_state VARCHAR(24) NOT NULL, 
	position INTEGER NOT NULL, 
	description VARCHAR(255), 
	qty NUMERIC(18, 4) NOT NULL, 
	unit_price NUMERIC(19, 6) NOT NULL, 
	discount_pct NUMERIC(7, 4) NOT NULL, 
	tax_code_id UUID, 
	tax_pct NUMERIC(7, 4) NOT NULL, 
	net_amount NUMERIC(19, 4) NOT NULL, 
	tax_amount NUMERIC(19, 4) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_purchase_invoice_lines PRIMARY KEY (tenant_id, id), 
	CONSTRAINT ck_purchase_invoice_lines_purchase_order_line_id_account_id_ CHECK (purchase_order_line_id is not null or account_id is not null or asset_category_id is not null), 
	CONSTRAINT ck_purchase_invoice_lines_match_state CHECK (match_state in ('none', 'matched', 'qty_over', 'price_off')), 
	CONSTRAINT ck_purchase_invoice_lines_qty CHECK (qty > 0), 
	CONSTRAINT ck_purchase_invoice_lines_unit_price CHECK (unit_price >= 0), 
	CONSTRAINT ck_purchase_invoice_lines_discount_pct CHECK (discount_pct >= 0 and discount_pct <= 100), 
	CONSTRAINT ck_purchase_invoice_lines_tax_pct CHECK (tax_pct >= 0 and tax_pct <= 100), 
	CONSTRAINT fk_purchase_invoice_lines_account_id FOREIGN KEY(tenant_id, account_id) REFERENCES fim.accounts (tenant_id, id) ON DELETE RESTRICT, 
	CONSTRAINT fk_purchase_invoice_lines_cost_center_id FOREIGN KEY(tenant_id, cost_center_id) REFERENCES fim.cost_centers (tenant_id, id) ON DELETE RESTRICT, 
	CONSTRAINT fk_purchase_invoice_lines_purchase_invoice_id FOREIGN KEY(tenant_id, purchase_invoice_id) REFERENCES apm.purchase_invoices (tenant_id, id) ON DELETE CASCADE, 
	CONSTRAINT fk_purchase_invoice_lines_tax_code_id FOREIGN KEY(tenant_id, tax_code_id) REFERENCES fim.tax_codes (tenant_id, id) ON DELETE RESTRICT
);

CREATE TABLE pim.product_variants (
	id UUID NOT NULL, 
	product_id UUID NOT NULL, 
	sku VARCHAR(32) NOT NULL, 
	name VARCHAR(160) NOT NULL, 
	options JSONB NOT NULL, 
	barcode VARCHAR(14), 
	list_price NUMERIC(19, 6), 
	is_default BOOLEAN NOT NULL, 
	avg_cost NUMERIC(19, 6) NOT NULL, 
	on_hand NUMERIC(18, 4) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_product_variants PRIMARY KEY (tenant_id, id), 
	CONSTRAINT ck_product_variants_list_price CHECK (list_price >= 0), 
	CONSTRAINT fk_product_variants_product_id FOREIGN KEY(tenant_id, product_id) REFERENCES pim.products (tenant_id, id) ON DELETE CASCADE
);

CREATE TABLE apm.sales_invoice_lines (
	id UUID NOT NULL, 
	sales_invoice_id UUID NOT NULL, 
	sales_order_line_id UUID, 
	variant_id UUID, 
	account_id UUID, 
	cost_center_id UUID, 
	position INTEGER NOT NULL, 
	description VARCHAR(255), 
	qty NUMERIC(18, 4) NOT NULL, 
	unit_price NUMERIC(19, 6) NOT NULL, 
	discount_pct NUMERIC(7, 4) NOT NULL, 
	tax_code_id UUID, 
	tax_pct NUMERIC(7, 4) NOT NULL, 
	net_amount NUMERIC(19, 4) NOT NULL, 
	tax_amount NUMERIC(19, 4) NOT NULL, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_sales_invoice_lines PRIMARY KEY (tenant_id, id), 
	CONSTRAINT ck_sales_invoice_lines_variant_id_account_id_sales_order_lin CHECK (variant_id is not null or account_id is not null or sales_order_line_id is not null), 
	CONSTRAINT ck_sales_invoice_lines_qty CHECK (qty > 0), 
	CONSTRAINT ck_sales_invoice_lines_unit_price CHECK (unit_price >= 0), 
	CONSTRAINT ck_sales_invoice_lines_discount_pct CHECK (discount_pct >= 0 and discount_pct <= 100), 
	CONSTRAINT ck_sales_invoice_lines_tax_pct CHECK (tax_pct >= 0 and tax_pct <= 100), 
	CONSTRAINT fk_sales_invoice_lines_account_id FOREIGN KEY(tenant_id, account_id) REFERENCES fim.accounts (tenant_id, id) ON DELETE RESTRICT, 
	CONSTRAINT fk_sales_invoice_lines_cost_center_id FOREIGN KEY(tenant_id, cost_center_id) REFERENCES fim.cost_centers (tenant_id, id) ON DELETE RESTRICT, 
	CONSTRAINT fk_sales_invoice_lines_sales_invoice_id FOREIGN KEY(tenant_id, sales_invoice_id) REFERENCES apm.sales_invoices (tenant_id, id) ON DELETE CASCADE, 
	CONSTRAINT fk_sales_invoice_lines_tax_code_id FOREIGN KEY(tenant_id, tax_code_id) REFERENCES fim.tax_codes (tenant_id, id) ON DELETE RESTRICT, 
	CONSTRAINT fk_sales_invoice_lines_variant_id FOREIGN KEY(tenant_id, variant_id) REFERENCES pim.product_variants (tenant_id, id) ON DELETE RESTRICT
);

CREATE TABLE pim.price_list_items (
	id UUID NOT NULL, 
	price_list_id UUID NOT NULL, 
	variant_id UUID NOT NULL, 
	min_qty NUMERIC(18, 4) NOT NULL, 
	unit_price NUMERIC(19, 6) NOT NULL, 
	discount_pct NUMERIC(7, 4) NOT NULL, 
	valid_from DATE NOT NULL, 
	valid_until DATE, 
	is_active BOOLEAN DEFAULT true NOT NULL, 
	version INTEGER DEFAULT 1 NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, 
	created_by UUID, 
	updated_by UUID, 
	tenant_id UUID NOT NULL, 
	CONSTRAINT pk_price_list_items PRIMARY KEY (tenant_id, id), 
	CONSTRAINT ck_price_list_items_valid_until_valid_from CHECK (valid_until is null or valid_until >= valid_from), 
	CONSTRAINT ck_price_list_items_min_qty CHECK (min_qty > 0), 
	CONSTRAINT ck_price_list_items_unit_price CHECK (unit_price >= 0), 
	CONSTRAINT ck_price_list_items_discount_pct CHECK (discount_pct >= 0 and discount_pct <= 100), 
	CONSTRAINT ex_price_list_items_price_list_id_variant_id_min_qty_valid_from EXCLUDE USING gist (tenant_id WITH =, price_list_id WITH =, variant_id WITH =, min_qty WITH =, daterange(valid_from, valid_until, '[]') WITH &&) WHERE (is_active), 
	CONSTRAINT fk_price_list_items_price_list_id FOREIGN KEY(tenant_id, price_list_id) REFERENCES pim.price_lists (tenant_id, id) ON DELETE CASCADE, 
	CONSTRAINT fk_price_list_items_variant_id FOREIGN KEY(tenant_id, variant_id) REFERENCES pim.product_variants (tenant_id, id) ON DELETE CASCADE
);

CREATE INDEX ix_payment_allocations_journal_entry_id_fk ON apm.payment_allocations (tenant_id, journal_entry_id);

CREATE INDEX ix_payment_allocations_payment_id_fk ON apm.payment_allocations (tenant_id, payment_id);

CREATE INDEX ix_payment_allocations_purchase_invoice_id_fk ON apm.payment_allocations (tenant_id, purchase_invoice_id);

CREATE INDEX ix_payment_allocations_sales_invoice_id_fk ON apm.payment_allocations (tenant_id, sales_invoice_id);

CREATE UNIQUE INDEX uq_payment_allocations_payment_id_sales_invoice_id_purchase_inv ON apm.payment_allocations (tenant_id, payment_id, sales_invoice_id, purchase_invoice_id) NULLS NOT DISTINCT WHERE is_active;

CREATE INDEX ix_payments_account_id_fk ON apm.payments (tenant_id, account_id);

CREATE INDEX ix_payments_customer_id_fk ON apm.payments (tenant_id, customer_id);

CREATE INDEX ix_payments_journal_entry_id_fk ON apm.payments (tenant_id, journal_entry_id);

CREATE UNIQUE INDEX uq_payments_number ON apm.payments (tenant_id, number) WHERE is_active;

CREATE INDEX ix_purchase_invoice_lines_account_id_fk ON apm.purchase_invoice_lines (tenant_id, account_id);

CREATE INDEX ix_purchase_invoice_lines_cost_center_id_fk ON apm.purchase_invoice_lines (tenant_id, cost_center_id);

CREATE INDEX ix_purchase_invoice_lines_purchase_invoice_id_fk ON apm.purchase_invoice_lines (tenant_id, purchase_invoice_id);

CREATE INDEX ix_purchase_invoice_lines_tax_code_id_fk ON apm.purchase_invoice_lines (tenant_id, tax_code_id);

CREATE INDEX ix_purchase_invoices_journal_entry_id_fk ON apm.purchase_invoices (tenant_id, journal_entry_id);

CREATE UNIQUE INDEX uq_purchase_invoices_number ON apm.purchase_invoices (tenant_id, number) WHERE is_active;

CREATE UNIQUE INDEX uq_purchase_invoices_supplier_id_supplier_invoice_no ON apm.purchase_invoices (tenant_id, supplier_id, supplier_invoice_no) WHERE is_active;

CREATE INDEX ix_sales_invoice_lines_account_id_fk ON apm.sales_invoice_lines (tenant_id, account_id);

CREATE INDEX ix_sales_invoice_lines_cost_center_id_fk ON apm.sales_invoice_lines (tenant_id, cost_center_id);

CREATE INDEX ix_sales_invoice_lines_sales_invoice_id_fk ON apm.sales_invoice_lines (tenant_id, sales_invoice_id);

CREATE INDEX ix_sales_invoice_lines_tax_code_id_fk ON apm.sales_invoice_lines (tenant_id, tax_code_id);

CREATE INDEX ix_sales_invoice_lines_variant_id_fk ON apm.sales_invoice_lines (tenant_id, variant_id);

CREATE INDEX ix_sales_invoices_customer_id_fk ON apm.sales_invoices (tenant_id, customer_id);

CREATE INDEX ix_sales_invoices_journal_entry_id_fk ON apm.sales_invoices (tenant_id, journal_entry_id);

CREATE INDEX ix_sales_invoices_original_invoice_id_fk ON apm.sales_invoices (tenant_id, original_invoice_id);

CREATE UNIQUE INDEX uq_sales_invoices_number ON apm.sales_invoices (tenant_id, number) WHERE is_active;

CREATE INDEX ix_accounts_parent_id_fk ON fim.accounts (tenant_id, parent_id);

CREATE UNIQUE INDEX uq_accounts_code ON fim.accounts (tenant_id, code) WHERE is_active;

CREATE UNIQUE INDEX uq_accounts_system_role ON fim.accounts (tenant_id, system_role) WHERE is_active and (system_role is not null);

CREATE INDEX ix_budgets_account_id_fk ON fim.budgets (tenant_id, account_id);

CREATE INDEX ix_budgets_cost_center_id_fk ON fim.budgets (tenant_id, cost_center_id);

CREATE UNIQUE INDEX uq_budgets_fiscal_year_period_number_account_id_cost_center_id ON fim.budgets (tenant_id, fiscal_year, period_number, account_id, cost_center_id) NULLS NOT DISTINCT WHERE is_active;

CREATE INDEX ix_cost_centers_parent_id_fk ON fim.cost_centers (tenant_id, parent_id);

CREATE UNIQUE INDEX uq_cost_centers_code ON fim.cost_centers (tenant_id, code) WHERE is_active;

CREATE UNIQUE INDEX uq_currencies_code ON fim.currencies (tenant_id, code) WHERE is_active;

CREATE UNIQUE INDEX uq_currencies_is_base ON fim.currencies (tenant_id, is_base) WHERE is_active and (is_base);

CREATE UNIQUE INDEX uq_exchange_rates_from_currency_to_currency_rate_date ON fim.exchange_rates (tenant_id, from_currency, to_currency, rate_date) WHERE is_active;

CREATE UNIQUE INDEX uq_fiscal_periods_code ON fim.fiscal_periods (tenant_id, code) WHERE is_active;

CREATE UNIQUE INDEX uq_fiscal_periods_fiscal_year_number ON fim.fiscal_periods (tenant_id, fiscal_year, number) WHERE is_active;

CREATE INDEX ix_journal_entries_period_id_fk ON fim.journal_entries (tenant_id, period_id);

CREATE INDEX ix_journal_entries_reversal_of_id_fk ON fim.journal_entries (tenant_id, reversal_of_id);

CREATE INDEX ix_journal_entries_reversed_by_id_fk ON fim.journal_entries (tenant_id, reversed_by_id);

CREATE UNIQUE INDEX uq_journal_entries_number ON fim.journal_entries (tenant_id, number) WHERE is_active;

CREATE UNIQUE INDEX uq_journal_entries_reversal_of_id ON fim.journal_entries (tenant_id, reversal_of_id) WHERE is_active;

CREATE UNIQUE INDEX uq_journal_entries_source_type_source_id_source_key ON fim.journal_entries (tenant_id, source_type, source_id, source_key) WHERE is_active;

CREATE INDEX ix_journal_lines_account_id_fk ON fim.journal_lines (tenant_id, account_id);

CREATE INDEX ix_journal_lines_cost_center_id_fk ON fim.journal_lines (tenant_id, cost_center_id);

CREATE INDEX ix_journal_lines_customer_id_fk ON fim.journal_lines (tenant_id, customer_id);

CREATE INDEX ix_journal_lines_journal_entry_id_fk ON fim.journal_lines (tenant_id, journal_entry_id);

CREATE INDEX ix_journal_lines_tax_code_id_fk ON fim.journal_lines (tenant_id, tax_code_id);

CREATE INDEX ix_tax_codes_account_id_fk ON fim.tax_codes (tenant_id, account_id);

CREATE INDEX ix_categories_cogs_account_id_fk ON pim.categories (tenant_id, cogs_account_id);

CREATE INDEX ix_categories_expense_account_id_fk ON pim.categories (tenant_id, expense_account_id);

CREATE INDEX ix_categories_inventory_account_id_fk ON pim.categories (tenant_id, inventory_account_id);

CREATE INDEX ix_categories_parent_id_fk ON pim.categories (tenant_id, parent_id);

CREATE INDEX ix_categories_revenue_account_id_fk ON pim.categories (tenant_id, revenue_account_id);

CREATE UNIQUE INDEX uq_categories_code ON pim.categories (tenant_id, code) WHERE is_active;

CREATE INDEX ix_price_list_items_price_list_id_fk ON pim.price_list_items (tenant_id, price_list_id);

CREATE INDEX ix_price_list_items_variant_id_fk ON pim.price_list_items (tenant_id, variant_id);

CREATE UNIQUE INDEX uq_price_lists_code ON pim.price_lists (tenant_id, code) WHERE is_active;

CREATE UNIQUE INDEX uq_price_lists_kind_currency ON pim.price_lists (tenant_id, kind, currency) WHERE is_active and (is_default);

CREATE INDEX ix_product_variants_product_id_fk ON pim.product_variants (tenant_id, product_id);

CREATE UNIQUE INDEX uq_product_variants_barcode ON pim.product_variants (tenant_id, barcode) WHERE is_active;

CREATE UNIQUE INDEX uq_product_variants_product_id ON pim.product_variants (tenant_id, product_id) WHERE is_active and (is_default);

CREATE UNIQUE INDEX uq_product_variants_product_id_options ON pim.product_variants (tenant_id, product_id, options) WHERE is_active;

CREATE UNIQUE INDEX uq_product_variants_sku ON pim.product_variants (tenant_id, sku) WHERE is_active;

CREATE INDEX ix_products_category_id_fk ON pim.products (tenant_id, category_id);

CREATE INDEX ix_products_unit_id_fk ON pim.products (tenant_id, unit_id);

CREATE UNIQUE INDEX uq_products_sku ON pim.products (tenant_id, sku) WHERE is_active;

CREATE UNIQUE INDEX uq_units_code ON pim.units (tenant_id, code) WHERE is_active;

CREATE UNIQUE INDEX uq_units_dimension ON pim.units (tenant_id, dimension) WHERE is_active and (is_base);

CREATE INDEX ix_approval_requests_approver_role_id_fk ON sys.approval_requests (tenant_id, approver_role_id);

CREATE UNIQUE INDEX uq_approval_requests_document_type_document_id_level ON sys.approval_requests (tenant_id, document_type, document_id, level) WHERE is_active and (status = 'pending');

CREATE INDEX ix_approval_rules_approver_role_id_fk ON sys.approval_rules (tenant_id, approver_role_id);

CREATE UNIQUE INDEX uq_roles_code ON sys.roles (tenant_id, code) WHERE is_active;

CREATE UNIQUE INDEX uq_settings_key ON sys.settings (tenant_id, key) WHERE is_active;

CREATE INDEX ix_user_roles_role_id_fk ON sys.user_roles (tenant_id, role_id);

CREATE INDEX ix_user_roles_user_id_fk ON sys.user_roles (tenant_id, user_id);

CREATE UNIQUE INDEX uq_user_roles_user_id_role_id ON sys.user_roles (tenant_id, user_id, role_id) WHERE is_active;

CREATE UNIQUE INDEX uq_users_identity_id ON sys.users (tenant_id, identity_id) WHERE is_active;

ALTER TABLE crm.activities ADD CONSTRAINT fk_activities_owner_id FOREIGN KEY(tenant_id, owner_id) REFERENCES sys.users (tenant_id, id) ON DELETE SET NULL (owner_id);

ALTER TABLE crm.customers ADD CONSTRAINT fk_customers_owner_id FOREIGN KEY(tenant_id, owner_id) REFERENCES sys.users (tenant_id, id) ON DELETE SET NULL (owner_id);

ALTER TABLE crm.customers ADD CONSTRAINT fk_customers_price_list_id FOREIGN KEY(tenant_id, price_list_id) REFERENCES pim.price_lists (tenant_id, id) ON DELETE SET NULL (price_list_id);

ALTER TABLE crm.leads ADD CONSTRAINT fk_leads_owner_id FOREIGN KEY(tenant_id, owner_id) REFERENCES sys.users (tenant_id, id) ON DELETE SET NULL (owner_id);

ALTER TABLE crm.opportunities ADD CONSTRAINT fk_opportunities_owner_id FOREIGN KEY(tenant_id, owner_id) REFERENCES sys.users (tenant_id, id) ON DELETE SET NULL (owner_id);

ALTER TABLE apm.sales_invoices ENABLE ROW LEVEL SECURITY;

ALTER TABLE apm.sales_invoices FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON apm.sales_invoices FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON apm.sales_invoices AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

ALTER TABLE apm.sales_invoice_lines ENABLE ROW LEVEL SECURITY;

ALTER TABLE apm.sales_invoice_lines FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON apm.sales_invoice_lines FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON apm.sales_invoice_lines AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

ALTER TABLE apm.purchase_invoices ENABLE ROW LEVEL SECURITY;

ALTER TABLE apm.purchase_invoices FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON apm.purchase_invoices FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON apm.purchase_invoices AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

ALTER TABLE apm.purchase_invoice_lines ENABLE ROW LEVEL SECURITY;

ALTER TABLE apm.purchase_invoice_lines FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON apm.purchase_invoice_lines FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON apm.purchase_invoice_lines AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

ALTER TABLE apm.payments ENABLE ROW LEVEL SECURITY;

ALTER TABLE apm.payments FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON apm.payments FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON apm.payments AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

ALTER TABLE apm.payment_allocations ENABLE ROW LEVEL SECURITY;

ALTER TABLE apm.payment_allocations FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON apm.payment_allocations FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON apm.payment_allocations AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

ALTER TABLE fim.currencies ENABLE ROW LEVEL SECURITY;

ALTER TABLE fim.currencies FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON fim.currencies FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON fim.currencies AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

ALTER TABLE fim.exchange_rates ENABLE ROW LEVEL SECURITY;

ALTER TABLE fim.exchange_rates FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON fim.exchange_rates FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON fim.exchange_rates AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

ALTER TABLE fim.accounts ENABLE ROW LEVEL SECURITY;

ALTER TABLE fim.accounts FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON fim.accounts FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON fim.accounts AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

ALTER TABLE fim.fiscal_periods ENABLE ROW LEVEL SECURITY;

ALTER TABLE fim.fiscal_periods FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON fim.fiscal_periods FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON fim.fiscal_periods AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

ALTER TABLE fim.cost_centers ENABLE ROW LEVEL SECURITY;

ALTER TABLE fim.cost_centers FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON fim.cost_centers FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON fim.cost_centers AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

ALTER TABLE fim.tax_codes ENABLE ROW LEVEL SECURITY;

ALTER TABLE fim.tax_codes FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON fim.tax_codes FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON fim.tax_codes AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

ALTER TABLE fim.journal_entries ENABLE ROW LEVEL SECURITY;

ALTER TABLE fim.journal_entries FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON fim.journal_entries FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON fim.journal_entries AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

ALTER TABLE fim.journal_lines ENABLE ROW LEVEL SECURITY;

ALTER TABLE fim.journal_lines FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON fim.journal_lines FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON fim.journal_lines AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

ALTER TABLE fim.budgets ENABLE ROW LEVEL SECURITY;

ALTER TABLE fim.budgets FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON fim.budgets FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON fim.budgets AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

ALTER TABLE pim.categories ENABLE ROW LEVEL SECURITY;

ALTER TABLE pim.categories FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON pim.categories FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON pim.categories AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

ALTER TABLE pim.units ENABLE ROW LEVEL SECURITY;

ALTER TABLE pim.units FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON pim.units FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON pim.units AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

ALTER TABLE pim.products ENABLE ROW LEVEL SECURITY;

ALTER TABLE pim.products FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON pim.products FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON pim.products AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

ALTER TABLE pim.product_variants ENABLE ROW LEVEL SECURITY;

ALTER TABLE pim.product_variants FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON pim.product_variants FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON pim.product_variants AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

ALTER TABLE pim.price_lists ENABLE ROW LEVEL SECURITY;

ALTER TABLE pim.price_lists FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON pim.price_lists FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON pim.price_lists AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

ALTER TABLE pim.price_list_items ENABLE ROW LEVEL SECURITY;

ALTER TABLE pim.price_list_items FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON pim.price_list_items FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON pim.price_list_items AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

ALTER TABLE sys.users ENABLE ROW LEVEL SECURITY;

ALTER TABLE sys.users FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON sys.users FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON sys.users AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

ALTER TABLE sys.roles ENABLE ROW LEVEL SECURITY;

ALTER TABLE sys.roles FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON sys.roles FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON sys.roles AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

ALTER TABLE sys.user_roles ENABLE ROW LEVEL SECURITY;

ALTER TABLE sys.user_roles FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON sys.user_roles FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON sys.user_roles AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

ALTER TABLE sys.settings ENABLE ROW LEVEL SECURITY;

ALTER TABLE sys.settings FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON sys.settings FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON sys.settings AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

ALTER TABLE sys.approval_rules ENABLE ROW LEVEL SECURITY;

ALTER TABLE sys.approval_rules FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON sys.approval_rules FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON sys.approval_rules AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

ALTER TABLE sys.approval_requests ENABLE ROW LEVEL SECURITY;

ALTER TABLE sys.approval_requests FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON sys.approval_requests FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON sys.approval_requests AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

ALTER TABLE sys.attachments ENABLE ROW LEVEL SECURITY;

ALTER TABLE sys.attachments FORCE ROW LEVEL SECURITY;

CREATE POLICY rows_ok ON sys.attachments FOR ALL TO :"runtime_role" USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON sys.attachments AS RESTRICTIVE FOR ALL TO PUBLIC USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid) WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

GRANT USAGE ON SCHEMA apm, fim, pim, sys TO :"runtime_role";

GRANT DELETE, INSERT, SELECT, UPDATE ON apm.sales_invoices, apm.sales_invoice_lines, apm.purchase_invoices, apm.purchase_invoice_lines, apm.payments, apm.payment_allocations, fim.currencies, fim.exchange_rates, fim.accounts, fim.fiscal_periods, fim.cost_centers, fim.tax_codes, fim.journal_entries, fim.journal_lines, fim.budgets, pim.categories, pim.units, pim.products, pim.product_variants, pim.price_lists, pim.price_list_items, sys.users, sys.roles, sys.user_roles, sys.settings, sys.approval_rules, sys.approval_requests, sys.attachments TO :"runtime_role";
