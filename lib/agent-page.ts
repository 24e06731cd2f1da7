/** The page for agents: the whole interface, command line and HTTP, in at most 900 tokens. */

export interface AgentPageSettings {
  /** The admin API's origin: `https://admin.example.test`. */
  readonly apiUrl: string
  /** VMs are at `<name>.<domain>`. */
  readonly domain: string
}

/** Markdown; test/cli/agent-page.test.ts counts its tokens and looks up every command and path in it. */
export function agentPage({ apiUrl, domain }: AgentPageSettings): string {
  return `# Landfall
VMs with HTTPS names. A pool (CPU, memory, disk) holds VMs; VM NAME serves https://NAME.${domain}/, a declared port P https://P--NAME.${domain}/. Private unless made public.

API: ${apiUrl.replace(/\/$/, '')}, JSON. Send \`Authorization: Bearer TOKEN\`; private VMs want it in X-Landfall-Authorization. Schemas: GET /v1/openapi.json.
CLI: set LANDFALL_API, LANDFALL_TOKEN (LANDFALL_CA_FILE); \`--json\` anywhere; \`landfall help COMMAND\`.

## Make a VM
\`landfall vm new NAME [--pool P] [--image I] [--port N] [--public]\` prints its URL when that answers. Over HTTP:
PUT /v1/vms/NAME?wait=60 {"pool"?,"image"?,"port"?:8000,"ports"?:{"8000":{"visibility":"public"}},"state"?:"running"|"stopped","cpus"?,"memoryBytes"?,"diskBytes"?,"suspendAfterSeconds"?,"source"?:{"vm","snapshot"?}}
201: "url" answers. 504 api_vm_not_ready: "detail" says why; GET it until "isReady". POST /v1/vms picks a name. PUT again changes it.

## Resources
GET lists and LIST/ID, PUT writes, DELETE ends. Commands likewise: NOUN list|show|delete.
/v1/pools/P {cpuMillis,memoryBytes,diskBytes,host?}: \`pool new|set\`
/v1/vms/VM (list: ?pool=P): \`vm new|set|start|stop|copy|restart|suspend|wake\`
POST /v1/vms/VM/restart|suspend|wake
/v1/vms/VM/snapshots POST, /v1/vms/VM/restore POST {"snapshot"}: \`snapshot make|restore|branch VM\`
/v1/vms/VM/ports/N {"visibility":"public"|"private","isDefault"?}: \`port set VM N --public\`
/v1/vms/VM/grants POST {"to":{"kind":"email"|"domain"|"user"|"token"|"vm","value"},"role":"viewer"|"root","ports"?,"expiresAt"?}: \`grant add VM WHOM --expires 7d\`
/v1/vms/VM/tokens|links POST {"expiresAt","hostname"?,"ports"?}: \`vm-token make VM --expires 30d\`, \`link make VM\`
/v1/routes/HOST {"vm","port"?} or {"upstream":"HOST:PORT","visibility"?}: \`route set\`
/v1/domains/HOST {"vm","port"?}; set one of "records" in DNS, POST /v1/domains/HOST/check: \`domain add|check HOST\`
/v1/tokens POST {"label","scopes":[{"pool":"P"|"*","verbs":["read","write","share","admin"]}],"expiresAt"?}: \`token new --scope P:read,write\`
/v1/keys POST {"user","publicKey"}: \`key add\`
Read: /v1/hosts, /v1/edges, /v1/audit, /v1/status, /v1/whoami, /v1/sessions, /v1/pools/P/usage?from&to: \`usage P\`

## Rules
Lists: ?limit&after; read on with "next". "revision" is an ETag: If-Match changes only what you read, If-None-Match: * only creates. POST: Idempotency-Key makes a retry safe. 429, 503: wait Retry-After.
Errors: {"detail","next","code","field"}; do what "next" says. Exit codes: 1 refused, 2 usage, 3 auth, 4 not found, 5 conflict, 6 failure, 7 timeout.
Changes: GET /v1/events is SSE, resume with Last-Event-ID: \`events --json\`
`
}
