/**
 * Hosts on this machine: network namespaces, each with an address of its own, and a router between them that can be told to drop what
 * goes from one to another. Drops are silent, as when a cable is cut: who sends hears nothing, also on connections there are.
 */
import { spawnSync } from 'node:child_process'

/** This process's end, to reach the hosts; never cut. */
const ownHost = 0

export class Network {
  readonly #hosts: readonly string[]
  readonly #subnet: number
  readonly #tag: string
  readonly #drops: string[][] = []
  #isThere = true

  /** @throws Error when it cannot be made: see unavailable() */
  constructor(hosts: readonly string[]) {
    this.#hosts = hosts
    this.#subnet = 20 + (process.pid % 200)
    this.#tag = `el${process.pid}`
    process.once('exit', () => this.remove())
    ip('netns', 'add', this.#router)
    enter(this.#router, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward')
    for (const host of hosts.keys()) this.#addHost(host + 1)
    this.#join(ownHost)
    ip('route', 'add', `10.${this.#subnet}.0.0/16`, 'via', `10.${this.#subnet}.${ownHost}.1`)
  }

  address(host: string): string {
    return this.#address(this.#number(host))
  }

  /** What to put before a command so that it runs there. */
  enter(host: string): readonly string[] {
    return ['ip', 'netns', 'exec', this.#namespace(this.#number(host))]
  }

  /** From here on nothing gets from the one to the other; the way back stays open. */
  drop(from: string, to: string): void {
    const rule = ['from', this.address(from), 'to', this.address(to), 'blackhole']
    this.#drops.push(rule)
    ip('-n', this.#router, 'rule', 'add', ...rule)
  }

  heal(): void {
    for (const rule of this.#drops.splice(0)) ip('-n', this.#router, 'rule', 'del', ...rule)
  }

  /** Idempotent. What still runs there keeps running, cut off. */
  remove(): void {
    if (!this.#isThere) return
    this.#isThere = false
    for (const host of this.#hosts.keys()) tryIp('netns', 'del', this.#namespace(host + 1))
    // With it go the ends of all wires.
    tryIp('netns', 'del', this.#router)
    tryIp('link', 'del', this.#wire(ownHost))
  }

  get #router(): string {
    return `${this.#tag}r`
  }

  #number(host: string): number {
    const at = this.#hosts.indexOf(host)
    if (at < 0) throw new Error(`no such host: ${host}`)
    return at + 1
  }

  #namespace(number: number): string {
    return `${this.#tag}h${number}`
  }

  #wire(number: number): string {
    return `${this.#tag}w${number}`
  }

  #address(number: number): string {
    return `10.${this.#subnet}.${number}.2`
  }

  #addHost(number: number): void {
    ip('netns', 'add', this.#namespace(number))
    this.#join(number)
    const inHost = ['-n', this.#namespace(number)]
    ip(...inHost, 'link', 'set', 'lo', 'up')
    ip(...inHost, 'route', 'add', 'default', 'via', `10.${this.#subnet}.${number}.1`)
  }

  /** A wire from the router to the host, or to this process's namespace. */
  #join(number: number): void {
    const near = this.#wire(number)
    const far = `${this.#tag}p${number}`
    ip('link', 'add', near, 'type', 'veth', 'peer', 'name', far)
    ip('link', 'set', far, 'netns', this.#router)
    ip('-n', this.#router, 'addr', 'add', `10.${this.#subnet}.${number}.1/24`, 'dev', far)
    ip('-n', this.#router, 'link', 'set', far, 'up')
    const inHost = number === ownHost ? [] : ['-n', this.#namespace(number)]
    if (number !== ownHost) ip('link', 'set', near, 'netns', this.#namespace(number))
    ip(...inHost, 'addr', 'add', `${this.#address(number)}/24`, 'dev', near)
    ip(...inHost, 'link', 'set', near, 'up')
  }
}

/** @returns why there can be no namespaces here, in words */
export function networkUnavailable(): string | undefined {
  if (process.getuid?.() !== 0) return 'network namespaces need root'
  const name = `el${process.pid}t`
  const made = tryIp('netns', 'add', name)
  if (made !== undefined) return `network namespaces cannot be made here: ${made}`
  const rule = tryIp('-n', name, 'rule', 'add', 'from', '10.0.0.1', 'to', '10.0.0.2', 'blackhole')
  tryIp('netns', 'del', name)
  return rule === undefined ? undefined : `routing rules cannot be made here: ${rule}`
}

function ip(...args: readonly string[]): void {
  const failed = tryIp(...args)
  if (failed !== undefined) throw new Error(`ip ${args.join(' ')}: ${failed}`)
}

/** @returns what went wrong */
function tryIp(...args: readonly string[]): string | undefined {
  return run('ip', args)
}

function enter(namespace: string, ...command: readonly string[]): void {
  const failed = run('ip', ['netns', 'exec', namespace, ...command])
  if (failed !== undefined) throw new Error(failed)
}

function run(program: string, args: readonly string[]): string | undefined {
  const { status, stderr, error } = spawnSync(program, args, { encoding: 'utf8' })
  if (status === 0) return undefined
  return error?.message ?? stderr.trim()
}
