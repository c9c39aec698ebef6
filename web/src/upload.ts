// A photo goes up in chunks, and goes on where it broke off.
import { claims, refusal, unsure } from "./api";
import type { EvidenceKind } from "./gen/aopre/warranty/v1/claim_pb";

const CHUNK = 512 * 1024;
export const LARGEST = 10 * 1024 * 1024;
export const TYPES = ["image/jpeg", "image/png", "image/webp", "application/pdf"];

/** Sends a file and tells how much of it is there, 0 to 1. The same file again goes on under the same evidence_id. */
export async function upload(claimId: string, kind: EvidenceKind, file: Blob, progress: (share: number) => void) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const sha256 = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const key = `upload:${claimId}:${kind}:${Array.from(sha256.slice(0, 12), (b) => b.toString(16).padStart(2, "0")).join("")}`;
  const evidenceId = sessionStorage.getItem(key) ?? crypto.randomUUID();
  const resumed = sessionStorage.getItem(key) !== null;
  sessionStorage.setItem(key, evidenceId);
  const where = { claimId, evidenceId, kind };
  try {
    let offset = 0;
    if (resumed) {
      const so = await claims.addEvidence({ requestId: crypto.randomUUID(), ...where });
      offset = so.evidence ? bytes.length : Number(so.nextOffsetBytes);
    }
    while (offset < bytes.length) {
      const data = bytes.subarray(offset, offset + CHUNK);
      const last = offset + data.length === bytes.length ? { sizeBytes: BigInt(bytes.length), sha256 } : {};
      const kept = await claims.addEvidence({ requestId: crypto.randomUUID(), ...where, offsetBytes: BigInt(offset), data, ...last });
      offset = kept.evidence ? bytes.length : Number(kept.nextOffsetBytes);
      progress(offset / bytes.length);
    }
    sessionStorage.removeItem(key);
  } catch (error) {
    if (!unsure(refusal(error))) sessionStorage.removeItem(key);
    throw error;
  }
}
