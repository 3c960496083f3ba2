import { createServer, type ServerResponse } from 'node:http'

export interface HttpServerOptions {
  readonly host: string
  /** 0: any free one. */
  readonly port: number
  /** undefined: well; else what is wrong, shown with 503. */
  readonly livez: () => Probe | Promise<Probe>
  readonly readyz: () => Probe | Promise<Probe>
  /** Prometheus' text format 0.0.4. */
  readonly metrics: () => string | Promise<string>
}

/** Why the answer is no, in one line; undefined for yes. */
export type Probe = string | undefined

export interface HttpServer {
  readonly port: number
  close(): Promise<void>
}

/** Serves GET /livez, /readyz and /metrics. @throws the error of listen */
export async function openHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const server = createServer({ requestTimeout: 10_000 }, (request, response) => {
    answer(options, request.method ?? '', request.url ?? '', response).catch(() =>
      send(response, 500, 'internal error\n'),
    )
    request.resume()
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.port, options.host, () => {
      server.off('error', reject)
      resolve()
    })
  })
  const address = server.address()
  return {
    port: address !== null && typeof address === 'object' ? address.port : options.port,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function answer(
  options: HttpServerOptions,
  method: string,
  url: string,
  response: ServerResponse,
): Promise<void> {
  const path = url.split('?', 1)[0]
  const known = path === '/livez' || path === '/readyz' || path === '/metrics'
  if (!known) return send(response, 404, 'not found\n')
  if (method !== 'GET' && method !== 'HEAD') return send(response, 405, 'method not allowed\n')
  if (path === '/metrics') {
    return send(response, 200, await options.metrics(), 'text/plain; version=0.0.4; charset=utf-8')
  }
  const trouble = path === '/livez' ? await options.livez() : await options.readyz()
  if (trouble === undefined) return send(response, 200, 'ok\n')
  return send(response, 503, `${trouble}\n`)
}

function send(
  response: ServerResponse,
  status: number,
  body: string,
  type = 'text/plain; charset=utf-8',
): void {
  if (response.headersSent) {
    response.destroy()
    return
  }
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) })
  response.end(body)
}
