/** A real S3 behind a gateway that misbehaves as told: per request it passes, refuses, loses the answer, stalls or cuts it. */
import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout } from 'node:timers/promises'

export type Trouble = 'none' | 'unavailable' | 'dropped' | 'done-dropped' | 'stalled' | 'cut'

export interface TroubledS3 {
  readonly endpoint: string
  /** Of each request, in order. */
  readonly seen: { readonly method: string; readonly url: string; readonly trouble: Trouble }[]
  close(): Promise<void>
}

export async function openTroubledS3(
  upstream: URL,
  troubleOf: (method: string, url: string) => Trouble,
): Promise<TroubledS3> {
  const seen: { method: string; url: string; trouble: Trouble }[] = []
  const server = createServer((incoming, outgoing) => {
    const method = incoming.method ?? ''
    const url = incoming.url ?? ''
    const trouble = troubleOf(method, url)
    seen.push({ method, url, trouble })
    answer(upstream, incoming, outgoing, trouble).catch(() => incoming.socket.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    endpoint: `http://127.0.0.1:${port}`,
    seen,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

async function answer(
  upstream: URL,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  trouble: Trouble,
): Promise<void> {
  if (trouble === 'dropped') {
    incoming.socket.destroy()
    return
  }
  const body: Buffer[] = []
  for await (const piece of incoming) body.push(piece as Buffer)
  if (trouble === 'stalled') {
    // Until the client goes.
    await new Promise((resolve) => incoming.socket.once('close', resolve))
    return
  }
  if (trouble === 'unavailable') {
    outgoing.writeHead(503, { 'content-type': 'application/xml' })
    outgoing.end(
      '<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>',
    )
    return
  }
  const { status, headers, bytes } = await pass(upstream, incoming, Buffer.concat(body))
  if (trouble === 'done-dropped') {
    incoming.socket.destroy()
    return
  }
  outgoing.writeHead(status, headers)
  if (trouble === 'none') {
    outgoing.end(bytes)
    return
  }
  outgoing.write(bytes.subarray(0, bytes.length >> 1))
  await setTimeout(20)
  incoming.socket.destroy()
}

/** With the headers as they are: they are signed. */
function pass(upstream: URL, incoming: IncomingMessage, body: Buffer) {
  return new Promise<{ status: number; headers: string[]; bytes: Buffer }>((resolve, reject) => {
    const options = {
      host: upstream.hostname,
      port: upstream.port,
      method: incoming.method,
      path: incoming.url,
      headers: incoming.headers,
    }
    const passed = httpRequest(options, (response) => {
      const pieces: Buffer[] = []
      response.on('data', (piece: Buffer) => pieces.push(piece))
      response.on('error', reject)
      response.on('end', () => {
        const status = response.statusCode ?? 500
        resolve({ status, headers: response.rawHeaders, bytes: Buffer.concat(pieces) })
      })
    })
    passed.on('error', reject)
    passed.end(body)
  })
}
