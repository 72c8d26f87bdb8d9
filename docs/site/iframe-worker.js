// Search runs in a worker, which browsers refuse to pages that are opened from a disk. There a hidden frame, which shares
// the page's thread, runs the same script.
if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.body.appendChild(Object.assign(document.createElement("iframe"), { hidden: true }));
      const inside = frame.contentWindow;
      inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      inside.importScripts = async (...urls) => {
        for (const each of urls) await load(each);
      };
      const load = (src) =>
        new Promise((resolve, reject) => {
          const script = inside.document.createElement("script");
          inside.document.body.append(Object.assign(script, { src, async: false, onload: resolve, onerror: reject }));
        });
      const ready = load(new URL(url, location.href).href);
      this.postMessage = (data) => ready.then(() => inside.dispatchEvent(new inside.MessageEvent("message", { data })));
    }
  };
  window.Worker = window.IFrameWorker;
}
