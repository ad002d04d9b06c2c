// Calls that the types refuse, each at the line that says so.
import createClient from "openapi-fetch";
import type { paths } from "./api";

const api = createClient<paths>({ baseUrl: "" });
const plan = { code: "X", name: "X", interval: "month", currency: "USD", amount: "1" } as const;
const path = { id: "01890a5d-ac96-774b-bcce-b302099a8057" };
await api.POST("/manager/bill/plans", { body: plan });
await api.POST("/manager/bill/plans", { body: { code: "X", name: "X", interval: "month", currency: "USD", amount: "1", colour: "red" } }); // refused: no such field
await api.POST("/manager/bill/plans", { body: { ...plan, amount: 1 } }); // refused: money is a text
await api.POST("/manager/bill/plans", { body: { ...plan, interval: "week" } }); // refused: no such choice
await api.POST("/manager/bill/plans", { body: { code: "X" } }); // refused: fields that are required
await api.PATCH("/manager/bill/plans/{id}", { params: { path }, body: { code: "Y" } }); // refused: set at create only
await api.PATCH("/manager/bill/plans/{id}", { params: { path: {} }, body: {} }); // refused: no key
await api.GET("/manager/bill/plans", { params: { query: { "filter[amuont]": "1" } } }); // refused: misspelt
await api.GET("/manager/bill/plans", { params: { query: { "filter[trial_days][gte]": "x" } } }); // refused: a number
await api.GET("/manager/bill/plans", { params: { query: { fields: ["password_hash"] } } }); // refused: no such field
await api.GET("/manager/bill/plants"); // refused: no such entity
await api.DELETE("/manager/audt/audit-logs/{id}", { params: { path } }); // refused: a log has no delete
const { data, error } = await api.GET("/manager/bill/plans/{id}", { params: { path } });
console.log(data?.data.amount?.length, error?.error.details[0]?.field);
console.log(data?.data.secret); // refused: no such field
console.log(error?.reason); // refused: not the shape of an error
