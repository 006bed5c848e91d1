// Keeps what was loaded once, so that the page works offline, and isolates it, so that WebAssembly
// may use several threads. Only the page's own files pass here, never a request to the service.

const CACHE = "topseg-page";
const SHELL = [
  "./",
  "index.html",
  "style.css",
  "icon.svg",
  "app.js",
  "engine/index.js",
  "engine/member.js",
  "engine/memory.js",
  "engines.js",
  "graph.js",
  "panel.css",
  "panel.js",
  "png.js",
  "sources.js",
  "stage.css",
  "stage.js",
  "worker.js",
  "page.json",
];

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(SHELL)));
  self.skipWaiting();
});

self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || !request.url.startsWith(self.registration.scope)) return;
  const address = request.url.slice(self.registration.scope.length);
  const path = address.split(/[?#]/)[0];
  const versioned = /[?&]v=/.test(address); // its bytes never change
  if (SHELL.includes(path || "./") || /^(engine|models|ort|samples)\//.test(path))
    event.respondWith(answer(request, versioned).then(isolated));
});

async function answer(request, versioned) {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(request);
  if (kept && versioned) return kept;
  try {
    const fresh = await fetch(request);
    if (fresh.ok) {
      if (versioned) await cache.delete(request, { ignoreSearch: true }); // older versions
      await cache.put(request, fresh.clone());
    }
    return fresh;
  } catch (error) {
    if (kept) return kept;
    throw error;
  }
}

function isolated(response) {
  if (response.type === "opaqueredirect" || !response.status) return response;
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  headers.set("Cross-Origin-Resource-Policy", "same-origin");
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}
