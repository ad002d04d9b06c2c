// A day's work through the generated types. What it saw goes to standard output as JSON.
import createClient from "openapi-fetch";
import type { components, paths } from "./api";

declare const process: { argv: string[] };
const [, , baseUrl = "", password = ""] = process.argv;
type Plan = components["schemas"]["manager_bill_plans_create"];
type Problem = components["schemas"]["Failure"];

function client(token?: string) {
  return createClient<paths>({
    baseUrl,
    // lists travel as one text with commas
    querySerializer: { array: { style: "form", explode: false } },
    ...(token ? { headers: { Authorization: `Bearer ${token}` } } : {}),
  });
}

function given<T>(value: T | undefined, problem?: unknown): T {
  if (value === undefined) throw new Error(`no answer: ${JSON.stringify(problem)}`);
  return value;
}

async function signIn(username: string, tenant?: string) {
  const { data, error } = await client().POST("/auth/token", {
    body: { grant_type: "password", username, password, ...(tenant ? { tenant } : {}) },
    headers: { "Content-Type": "application/x-www-form-urlencoded" },
  });
  return client(given(data, error).access_token);
}

function plan(code: string, more: Partial<Plan> = {}): Plan {
  return { code, name: `Plan ${code}`, interval: "month", currency: "USD", amount: "30.00", ...more };
}

function told({ error }: Problem, status: number) {
  return { status, code: error.code, details: error.details.map(({ field, code, params }) => [field, code, params]) };
}

async function rows(api: ReturnType<typeof client>) {
  const created = await api.POST("/manager/bill/plans", { body: plan("TS-1", { amount: "31.50" }) });
  const row = given(created.data, created.error).data;
  if (row === null || Array.isArray(row)) throw new Error("one row was sent");
  const path = { id: row.id };

  const { data: listed } = await api.GET("/manager/bill/plans", {
    params: {
      query: {
        "filter[amount][gte]": "31.5",
        "filter[code][in]": ["TS-1", "TS-2"],
        "filter[interval]": "month",
        sort: ["-amount", "code"],
        fields: ["code", "amount"],
      },
    },
  });
  const read = await api.GET("/manager/bill/plans/{id}", { params: { path } });
  const etag = read.response.headers.get("ETag") ?? "";
  const change = { params: { path, header: { "If-Match": etag } }, body: { name: "Renamed" } };
  const changed = await api.PATCH("/manager/bill/plans/{id}", change);
  const stale = await api.PATCH("/manager/bill/plans/{id}", change);
  const moved = await api.PATCH("/manager/bill/plans/{id}/status", {
    params: { path },
    body: { status: "active", version: 2 },
  });
  const deleted = await api.DELETE("/manager/bill/plans/{id}", { params: { path, query: { version: 3 } } });
  return {
    created: [created.response.status, row.amount, row.version],
    listed: listed?.data.items,
    total: listed?.data.total,
    changed: [changed.data?.data.name, changed.data?.data.version],
    stale: told(given(stale.error), stale.response.status),
    moved: moved.data?.data.status,
    deleted: deleted.data?.data.is_active,
  };
}

async function many(api: ReturnType<typeof client>) {
  const made = await api.POST("/manager/bill/plans", { body: ["TS-M0", "TS-M1", "TS-M2"].map((code) => plan(code)) });
  const all = made.data?.data;
  const each = await api.POST("/manager/bill/plans", {
    params: { header: { Prefer: "each" } },
    body: [plan("TS-M0"), plan("TS-M3")],
  });
  // 201 or 207: what an item is tells which
  const items = Array.isArray(each.data?.data) ? each.data.data : [];
  const faulty = await api.POST("/manager/bill/plans", {
    body: { ...plan("TS-BAD", { amount: "-1" }), ...({ colour: "red" } as object) },
  });
  const query = { "filter[code][startswith]": "TS-M", sort: "code", page_size: 3 };
  const first = await api.GET("/manager/bill/plans", { params: { query } });
  const cursor = given(first.data, first.error).data.next_cursor ?? "";
  const second = await api.GET("/manager/bill/plans", { params: { query: { ...query, cursor } } });
  const counted = await api.PATCH("/manager/bill/plans", {
    params: { header: { Prefer: "max-affected=1" }, query: { "filter[code]": "TS-M3" } },
    body: { description: "By filter" },
  });
  return {
    made: Array.isArray(all) ? all.map((one) => ("code" in one ? one.code : null)) : null,
    each: [each.response.status, items.map((item) => ("error" in item ? [item.status, item.error?.code ?? null] : null))],
    faulty: told(given(faulty.error), faulty.response.status),
    pages: [first, second].map((page) => page.data?.data.items.map((one) => one.code)),
    counted: counted.data?.data.count,
  };
}

async function files(api: ReturnType<typeof client>) {
  const imported = await api.POST("/manager/bill/plans/import", {
    params: { query: { map: { Price: "amount" } } },
    headers: { "Content-Type": "text/csv" },
    body: "code,name,interval,currency,Price\nTS-F1,Filed,month,USD,5\n",
    bodySerializer: (text) => text,
  });
  const exported = await api.GET("/manager/bill/plans/export", {
    params: { query: { "filter[code]": "TS-F1", fields: ["code", "name"], format: "csv" } },
    parseAs: "text",
  });
  const report = imported.data?.data;
  // 202 with a transfer is for files above `async_rows` rows, and for who asks for it
  if (!report || !("created" in report)) throw new Error("the report of a short file was expected");
  return { imported: report.created, exported: exported.data };
}

async function related(api: ReturnType<typeof client>) {
  const made = await api.POST("/tenants/crm/customers", { body: { name: "Acme of TypeScript" } });
  const customer = made.data?.data;
  if (!customer || Array.isArray(customer)) throw new Error("one row was sent");
  await api.POST("/tenants/crm/contacts", { body: { customer_id: customer.id, full_name: "Ann of TypeScript" } });
  const shown = await api.GET("/tenants/crm/contacts", {
    params: { query: { "filter[customer_id]": customer.id, expand: ["customer", "leads"] } },
  });
  const asked = await api.POST("/tenants/crm/contacts/query", {
    body: { filter: { "customer.name": { icontains: "of typescript" } }, expand: { customer: { fields: ["name"] } } },
  });
  return {
    shown: shown.data?.data.items.map((one) => [one.full_name, one.customer?.name, one.leads]),
    asked: asked.data?.data.items.map((one) => one.customer),
  };
}

const admin = await signIn("admin@example.com");
const owner = await signIn("owner@first.example", "first");
const seen = { ...(await rows(admin)), ...(await many(admin)), ...(await files(admin)), ...(await related(owner)) };
console.log(JSON.stringify(seen));
