/** Finds the server that the demo talks to, or starts one as a child process. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { fileURLToPath } from 'node:url'
import { print } from '#cli/print.js'

const startTimeoutMs = 60_000
const user = 'postgres'

export interface DemoServer {
  readonly url: string
  /** The command with which a person connects. */
  readonly psql: string
  /** Waits until the server that was started here ends (Ctrl-C); returns at once if it was running before. */
  keepRunning(): Promise<void>
}

export async function reachOrStart(host: string, port: number, data: string): Promise<DemoServer> {
  const child = (await isListening(host, port)) ? undefined : await startServer(host, port, data)
  return {
    url: `postgres://${user}@${host}:${port}/postgres`,
    psql: `psql -h ${host} -p ${port} -U ${user} postgres`,
    keepRunning: async () => {
      if (child === undefined) return
      print(
        'The server goes on running here; Ctrl-C stops it, and `elanus start` brings it back with its data.',
      )
      await once(child, 'exit')
    },
  }
}

async function startServer(host: string, port: number, data: string): Promise<ChildProcess> {
  print(`No server on ${host}:${port}: starting one with its data in ${data}.`)
  const command = fileURLToPath(new URL('../../../scripts/elanus.mjs', import.meta.url))
  const args = [command, 'start', '--host', host, '--port', String(port), '--data', data]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit'] })
  // The child must not outlive the demo, however the demo ends.
  process.once('exit', () => child.kill('SIGTERM'))
  process.once('SIGINT', () => child.kill('SIGINT'))
  process.once('SIGTERM', () => child.kill('SIGTERM'))
  const deadlineMs = Date.now() + startTimeoutMs
  while (!(await isListening(host, port))) {
    if (child.exitCode !== null)
      throw new Error(`the server ended with exit code ${child.exitCode}`)
    if (Date.now() > deadlineMs)
      throw new Error(`the server does not listen after ${startTimeoutMs / 1000} s`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  return child
}

function isListening(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port })
    const answer = (listening: boolean) => {
      socket.destroy()
      resolve(listening)
    }
    socket.once('connect', () => answer(true))
    socket.once('error', () => answer(false))
  })
}
