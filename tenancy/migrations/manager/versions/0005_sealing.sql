CREATE OR REPLACE FUNCTION public.cxg_append_only() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
  RAISE EXCEPTION '%.% is append-only: % refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
    USING ERRCODE = 'restrict_violation';
END
$body$;

CREATE OR REPLACE TRIGGER append_only BEFORE DELETE OR UPDATE OF action, actor_email, actor_id, changes, created_at, created_by, domain, entity, entity_id, id, ip, is_active, occurred_at, outcome, request_id, scope, tenant_id, updated_at, updated_by, user_agent, version ON audt.audit_logs FOR EACH ROW EXECUTE FUNCTION public.cxg_append_only();

CREATE OR REPLACE TRIGGER append_only_truncate BEFORE TRUNCATE ON audt.audit_logs FOR EACH STATEMENT EXECUTE FUNCTION public.cxg_append_only();
