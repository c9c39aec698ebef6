// The services by grpc-web, who calls them, and what their errors say.
import { Code, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import type { DescService } from "@bufbuild/protobuf";
import { ClaimService } from "./gen/aopre/warranty/v1/claim_pb";
import { CoverageService } from "./gen/aopre/warranty/v1/coverage_pb";
import { LogisticsService } from "./gen/aopre/warranty/v1/logistics_pb";
import { BadRequestSchema, ErrorInfoSchema, LocalizedMessageSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb";
import { say } from "./dom";
import { isChinese, t } from "./words";

const TOKEN = "token";

/** Takes the token out of the address, so that it is neither bookmarked nor shared, and keeps it for this tab. */
export function takeToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token === null) return;
  history.replaceState(null, "", location.pathname + "#/");
  if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) return;
  const kept = sessionStorage.getItem(TOKEN);
  if (kept !== null && holder(kept) !== holder(token)) {
    // A stranger's link would have what follows filed in the stranger's name.
    if (!confirm(t("sign.other"))) return;
    sessionStorage.clear();
  }
  sessionStorage.setItem(TOKEN, token);
}
/** Whose a token is; nobody's where it cannot be read. */
function holder(token: string): unknown {
  try { return JSON.parse(atob(token.split(".")[1]!.replaceAll("-", "+").replaceAll("_", "/"))).sub; } catch { return undefined; }
}
export const signedIn = () => sessionStorage.getItem(TOKEN) !== null;
export const signOut = () => sessionStorage.clear();
/** The token is over; what was begun waits for the next. */
export function signInAgain() {
  sessionStorage.removeItem(TOKEN);
  sessionStorage.setItem("ended", "1");
  location.reload();
}

const authorize: Interceptor = (next) => (request) => {
  const token = sessionStorage.getItem(TOKEN);
  if (token !== null) request.header.set("authorization", `Bearer ${token}`);
  return next(request);
};

/** Waits as long as the server says, and tries again: every write has a request_id, so that it is never done twice. */
const retry: Interceptor = (next) => async (request) => {
  for (let tries = 0; ; tries += 1) {
    try {
      return await next(request);
    } catch (error) {
      const wait = refusal(error).retryAfter;
      if (request.stream || wait === undefined || tries === 3 || wait > 10_000) throw error;
      say(t("waiting", Math.ceil(wait / 1000)));
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
};

const api = (document.documentElement.dataset.api || location.origin).split(",");
function client<S extends DescService>(service: S, at: number) {
  const baseUrl = api[at] ?? api[0]!;
  return createClient(service, createGrpcWebTransport({ baseUrl, interceptors: [retry, authorize], defaultTimeoutMs: 15_000 }));
}
export const coverage = client(CoverageService, 0);
export const claims = client(ClaimService, 1);
export const logistics = client(LogisticsService, 2);

/** What an error says: the reason, a sentence for the customer, the fields, what may have been meant, when to try again (ms). */
export interface Refusal {
  code: Code;
  reason: string;
  /** In the page's language; none where it was not the services that refused. */
  told?: string;
  message: string;
  metadata: Record<string, string>;
  fields: { field: string; description: string }[];
  retryAfter?: number;
}
export function refusal(thrown: unknown): Refusal {
  const error = ConnectError.from(thrown);
  const info = error.findDetails(ErrorInfoSchema)[0];
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  return {
    code: error.code,
    reason: info?.reason ?? (error.cause instanceof TypeError || error.code === Code.Unavailable ? "NETWORK"
      : error.code === Code.DeadlineExceeded ? "DEADLINE" : error.code === Code.Unauthenticated ? "TOKEN_REFUSED"
      : error.code === Code.ResourceExhausted ? "OVERLOADED" : ""),
    told: error.findDetails(LocalizedMessageSchema).find((told) => told.locale.startsWith(isChinese() ? "zh" : "en"))?.message,
    message: error.rawMessage,
    metadata: info?.metadata ?? {},
    fields: error.findDetails(BadRequestSchema).flatMap((bad) => bad.fieldViolations),
    retryAfter: delay && Number(delay.seconds) * 1000 + delay.nanos / 1e6,
  };
}

/** Whether the same request may still come through, or may have come through already. */
export const unsure = (r: Refusal) =>
  [Code.Unavailable, Code.DeadlineExceeded, Code.Unknown, Code.Canceled, Code.ResourceExhausted, Code.Internal, Code.Unauthenticated].includes(r.code);

/**
 * Does a write once. Its request_id is kept with its content until an answer came: a reload or a second try sends the same one.
 * Other content gets another id.
 */
export async function once<T>(key: string, content: unknown, write: (requestId: string) => Promise<T>): Promise<T> {
  const slot = `once:${key}`;
  const text = JSON.stringify(content);
  const kept = pending(key);
  const id = kept && JSON.stringify(kept.content) === text ? kept.id : crypto.randomUUID();
  sessionStorage.setItem(slot, JSON.stringify({ id, content }));
  try {
    const answer = await write(id);
    sessionStorage.removeItem(slot);
    return answer;
  } catch (error) {
    if (!unsure(refusal(error))) sessionStorage.removeItem(slot);
    throw error;
  }
}

/** A write that has no answer yet. */
export function pending(key: string): { id: string; content: unknown } | undefined {
  const kept = sessionStorage.getItem(`once:${key}`);
  return kept === null ? undefined : JSON.parse(kept);
}
