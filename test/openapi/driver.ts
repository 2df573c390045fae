// Drives a hub with the client that openapi-typescript generates from the hub's
// own document: token, list, activation, and following an asynchronous change.
// NAVE_ORIGIN, NAVE_TENANT, NAVE_CLIENT_ID and NAVE_CLIENT_SECRET say where and
// as whom; NAVE_SIM and NAVE_SLOW_SIM are ids of products in INVENTORY, one of
// a synchronous and one of an asynchronous platform.
import createClient from "openapi-fetch";
import type { components, paths } from "./gen/client.js";

function need(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is missing`);
  return value;
}

function check(ok: unknown, what: string, seen?: unknown): asserts ok {
  if (!ok) throw new Error(`${what}: ${JSON.stringify(seen)}`);
  console.log(`ok ${what}`);
}

const origin = need("NAVE_ORIGIN");
const base = `${origin}/api/connectivity/v1/${need("NAVE_TENANT")}`;
const fast = need("NAVE_SIM");
const slow = need("NAVE_SLOW_SIM");

const issuer = createClient<paths>({ baseUrl: origin });
const issued = await issuer.POST("/oauth2/token", {
  body: { grant_type: "client_credentials", client_id: need("NAVE_CLIENT_ID"), client_secret: need("NAVE_CLIENT_SECRET") },
  bodySerializer: (body) => new URLSearchParams(body as Record<string, string>),
  headers: { "Content-Type": "application/x-www-form-urlencoded" },
});
check(issued.data?.token_type === "Bearer" && issued.data.expires_in === 300, "token", issued.error);

const hub = createClient<paths>({ baseUrl: base, headers: { Authorization: `Bearer ${issued.data.access_token}` } });

const page = await hub.GET("/product", { params: { query: { pageSize: 5, status: "INVENTORY", sort: "id" } } });
const products: components["schemas"]["ProductSummary"][] = page.data?.entities ?? [];
check(products.some((p) => p.id === fast), "list", page.error ?? page.data);

const wrong = await hub.GET("/product", { params: { query: { status: "ACTIV" }, header: { Prefer: "handling=strict" } } });
check(wrong.error?.code === "validation_failed" && wrong.error.errors?.[0]?.parameter === "status", "problem", wrong.error);

const active = await hub.PATCH("/product/{id}", {
  params: { path: { id: `${fast}-simCard` } },
  body: { status: "ACTIVE" },
  headers: { "Content-Type": "application/merge-patch+json" },
});
check(active.data && "status" in active.data && active.data.status === "ACTIVE", "activate", active.error ?? active.data);

const started = await hub.PATCH("/product/{id}", {
  params: { path: { id: `${slow}-simCard` } },
  body: [{ op: "replace", path: "/status", value: "ACTIVE" }],
  headers: { "Content-Type": "application/json-patch+json" },
});
check(started.response.status === 202 && started.data && "state" in started.data, "asynchronous change", started.error ?? started.data);
const monitorId = started.data.id;

const end = Date.now() + 120_000;
for (;;) {
  const seen = await hub.GET("/monitor/{monitorId}", { params: { path: { monitorId } } });
  check(seen.data, "monitor", seen.error);
  if (seen.data.state === "Completed") break;
  check(seen.data.state === "InProgress" && Date.now() < end, "under way", seen.data);
  await new Promise((next) => setTimeout(next, 200));
}

const task = await hub.POST("/task/productStatusChange", { body: { status: "SUSPENDED", productId: [fast] } });
check(task.data?.state === "done" && task.data.statistics.succeeded === 1, "task", task.error ?? task.data);

const done = await hub.GET("/product/{id}", { params: { path: { id: slow } } });
check(done.data?.status === "ACTIVE", "product", done.error ?? done.data);
