// A serial from a QR code: the camera where there is one, else a photo. Nothing leaves the device.
import { button, h } from "./dom";
import { t } from "./words";

interface Detector { detect(image: ImageBitmapSource): Promise<{ rawValue: string }[]> }
declare const BarcodeDetector: { new (options: { formats: string[] }): Detector; getSupportedFormats(): Promise<string[]> };

/** The reader of the browser where it has one, else the library's. */
async function reader(): Promise<(image: ImageBitmap) => Promise<string | undefined>> {
  if (typeof BarcodeDetector !== "undefined" && (await BarcodeDetector.getSupportedFormats()).includes("qr_code")) {
    const detector = new BarcodeDetector({ formats: ["qr_code"] });
    return async (image) => (await detector.detect(image))[0]?.rawValue;
  }
  const { default: decode } = await import("qr/decode.js");
  return async (image) => {
    const scale = Math.min(1, 1200 / Math.max(image.width, image.height));
    const canvas = h("canvas", { width: Math.round(image.width * scale), height: Math.round(image.height * scale) });
    const context = canvas.getContext("2d", { willReadFrequently: true })!;
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    try { return decode(context.getImageData(0, 0, canvas.width, canvas.height)); } catch { return undefined; }
  };
}

/** The serial in a code's text: the text, or what a link of the maker's ends with. */
export function serialOf(text: string): string {
  try {
    const url = new URL(text.trim());
    return url.searchParams.get("serial") ?? url.searchParams.get("sn") ?? url.pathname.split("/").filter(Boolean).pop() ?? "";
  } catch {
    return text.trim();
  }
}

/** Asks for a code until one is read or the customer gives up. */
export function scan(): Promise<string | undefined> {
  return new Promise((resolve) => {
    let stream: MediaStream | undefined;
    let over = false;
    const video = h("video", { playsinline: true, muted: true, "aria-hidden": "true", hidden: true });
    const note = h("p", { role: "status" }, t("scan.hint"));
    const photo = h("input", { type: "file", accept: "image/*", capture: "environment", id: "scan-photo" });
    const dialog = h("dialog", { "aria-labelledby": "scan-title" },
      h("h2", { id: "scan-title" }, t("scan.title")), video, note,
      h("label", { for: "scan-photo" }, t("scan.photo")), photo,
      h("div", { class: "row" }, button(t("close"), () => end(undefined), "quiet")));
    function end(serial: string | undefined) {
      if (over) return;
      over = true;
      stream?.getTracks().forEach((track) => track.stop());
      dialog.close();
      dialog.remove();
      resolve(serial);
    }
    dialog.addEventListener("cancel", () => end(undefined));
    photo.addEventListener("change", async () => {
      const file = photo.files?.[0];
      if (!file) return;
      const text = await createImageBitmap(file).then(async (image) => (await reader())(image)).catch(() => undefined);
      if (text) end(serialOf(text));
      else note.textContent = t("scan.none");
    });
    document.body.append(dialog);
    dialog.showModal();
    void (async () => {
      stream = await navigator.mediaDevices?.getUserMedia({ video: { facingMode: "environment" } }).catch(() => undefined);
      if (!stream) return;
      if (over) return stream.getTracks().forEach((track) => track.stop());
      video.srcObject = stream;
      video.hidden = false;
      await video.play();
      const read = await reader();
      while (!over) {
        const text = video.videoWidth > 0 ? await read(await createImageBitmap(video)).catch(() => undefined) : undefined;
        if (text) end(serialOf(text));
        await new Promise((next) => setTimeout(next, 200));
      }
    })();
  });
}
