// All hosts of a test: the browser finds every *.example on one local server.
//
// http://quire.example is the real Quire, behind a proxy that can be asleep, slow or cut off.

import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer, request as forward } from "node:http";
import { extname, join, normalize } from "node:path";

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".css": "text/css",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".ico": "image/x-icon",
  ".woff2": "font/woff2",
  ".xml": "application/xml",
};

export const QUIRE = "quire.example";

export async function startInternet() {
  /** Host name -> function(request, response). */
  const hosts = new Map();
  /** "GET host/path" of every request since the last `forget()`. */
  let requests = [];
  let fault = null;
  const open = new Set();

  const server = createServer((request, response) => {
    const host = request.headers.host ?? "";
    requests.push(`${request.method} ${host}${request.url}`);
    const serve = hosts.get(host);
    if (request.url === "/favicon.ico") response.writeHead(204).end();
    else if (serve) serve(request, response);
    else response.writeHead(404).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");

  const proxy = (port) => async (request, response) => {
    open.add(response);
    response.on("close", () => open.delete(response));
    if (fault && (await fault(request, response))) return;
    const { method, url, headers } = request;
    // A connection of its own: Quire may be closing a kept one at this moment.
    const onward = forward({ host: "127.0.0.1", port, method, path: url, headers, agent: false }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      response.flushHeaders();
      answer.pipe(response);
      answer.on("error", () => response.destroy());
    });
    onward.on("error", () => response.destroy());
    response.on("close", () => onward.destroy());
    request.pipe(onward);
  };

  return {
    port: server.address().port,
    requests: () => requests,
    forget: () => (requests = []),
    /** Publish a built site. `headers`: sent with its pages. */
    site(host, folder, { base = "/", headers = {} } = {}) {
      hosts.set(host, (request, response) => sendFile(request, response, folder, base, headers));
    },
    /** Publish one page as it is. */
    document(host, html) {
      hosts.set(host, (request, response) => {
        response.writeHead(200, { "Content-Type": TYPES[".html"] });
        response.end(html);
      });
    },
    /** Publish one page, with the author's line at its end. */
    page(host, html, headers = {}) {
      const line = `<script src="http://${QUIRE}/widget.js" defer></script>`;
      hosts.set(host, (request, response) => {
        response.writeHead(200, { "Content-Type": TYPES[".html"], ...headers });
        response.end(`<!doctype html><html lang="en"><title>A page</title>${html}${line}</html>`);
      });
    },
    /** Publish pages as they are: { "/path": html }. */
    pages(host, pages) {
      hosts.set(host, (request, response) => {
        const html = pages[new URL(request.url, "http://x").pathname];
        response.writeHead(html ? 200 : 404, { "Content-Type": TYPES[".html"] });
        response.end(html ?? "");
      });
    },
    quire: ({ port }) => hosts.set(QUIRE, proxy(port)),
    /** Serve Quire under a path of another host, as a proxy that strips the path. */
    quireUnder(host, path, { port }) {
      const forwarded = proxy(port);
      hosts.set(host, (request, response) => {
        if (!request.url.startsWith(`${path}/`)) return response.writeHead(404).end();
        request.url = request.url.slice(path.length);
        return forwarded(request, response);
      });
    },
    /** `handle(request, response)` sees requests before Quire; true: it has answered. */
    fault: (handle) => (fault = handle),
    /** Cut every open connection to Quire. */
    cut() {
      for (const response of open) response.destroy();
    },
    stop() {
      server.closeAllConnections();
      server.close();
    },
  };
}

async function sendFile(request, response, folder, base, headers) {
  const path = normalize(decodeURIComponent(new URL(request.url, "http://x").pathname));
  const within = path.startsWith(base) ? path.slice(base.length) : null;
  const name = within === null ? null : join(folder, within, path.endsWith("/") ? "index.html" : "");
  try {
    const contents = await readFile(name);
    response.writeHead(200, { "Content-Type": TYPES[extname(name)] ?? "text/plain", ...headers });
    response.end(contents);
  } catch {
    response.writeHead(404).end();
  }
}
