import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  type Config,
  ConfigError,
  isLoopback,
  parseConfig,
  readBootstrapPassword,
} from '#config.js'

const machine = { processorCount: 4, memoryBytes: 8 * 2 ** 30 }

function configOf(args: readonly string[], environment: Record<string, string> = {}): Config {
  const parsed = parseConfig(args, environment, machine)
  if (parsed.kind !== 'config') throw new Error('expected a configuration')
  return parsed.config
}

describe('configuration', () => {
  it('has a default for everything, fit for one laptop', () => {
    expect(configOf([])).toEqual({
      data: './data',
      host: '127.0.0.1',
      port: 5432,
      httpPort: 0,
      auth: 'trust',
      user: 'postgres',
      passwordFile: undefined,
      password: undefined,
      maxConnections: 100,
      logLevel: 'info',
      logFormat: 'text',
      logSlow: 0,
      threads: 4,
      evaluators: 2,
      memory: 8 * 2 ** 30,
      cache: 10 * 2 ** 30,
      sealBytes: 512 * 2 ** 20,
      logChannels: undefined,
      retention: 60_000,
      rpcPort: 7400,
    })
  })

  it('takes flags in both forms, and a flag before the environment', () => {
    const config = configOf(['--port', '5433', '--data=/x', '--seal-bytes', '64MB'], {
      ELANUS_PORT: '6000',
      ELANUS_MAX_CONNECTIONS: '7',
    })
    expect(config).toMatchObject({
      port: 5433,
      data: '/x',
      maxConnections: 7,
      sealBytes: 64 * 2 ** 20,
    })
  })

  it.each([
    [['--port', 'x'], '--port: "x" is not a whole number from 0 to 65535'],
    [['--port'], '--port needs a value: --port PORT'],
    [['--prot', '1'], 'unknown argument "--prot"'],
    [['start'], 'unknown argument "start"'],
    [['--log-level', 'loud'], '--log-level: "loud" is none of error, warn, info'],
    [['--seal-bytes', 'much'], '--seal-bytes: "much" is not a size such as 512MB or 2GB'],
    [['--memory', '512MB'], '--memory: 512MB is too small with 2 evaluators, the least is 768MB'],
    [['--seal-bytes', '1kB'], '--seal-bytes: 1kB is too small, the least is 1MB'],
    [['--password', 'secret'], '--password would show in the list of processes'],
    [['--data', ''], '--data: must not be empty'],
  ])('says what is wrong with %j', (args, message) => {
    expect(() => configOf(args)).toThrow(ConfigError)
    expect(() => configOf(args)).toThrow(message)
  })

  it('names the variable when the environment is wrong', () => {
    expect(() => configOf([], { ELANUS_PORT: '-1' })).toThrow(
      'ELANUS_PORT: "-1" is not a whole number',
    )
  })

  it('lets other machines in only with a password', () => {
    for (const host of [
      '0.0.0.0',
      '::',
      '192.168.1.5',
      'db.example.com',
      '127.0.0.1.example.com',
    ]) {
      expect(() => configOf(['--host', host])).toThrow(
        `refusing to listen on ${host} without password`,
      )
      expect(configOf(['--host', host, '--auth', 'scram-sha-256']).host).toBe(host)
    }
    for (const host of ['127.0.0.1', '127.3.2.1', '::1', 'localhost'])
      expect(isLoopback(host)).toBe(true)
  })

  it('reads the password from the first line of a file, or from the environment', () => {
    const folder = mkdtempSync(join(tmpdir(), 'elanus-config-'))
    const file = join(folder, 'password')
    writeFileSync(file, 'open sesame\nrest\n')
    expect(readBootstrapPassword(configOf(['--password-file', file]))).toBe('open sesame')
    expect(readBootstrapPassword(configOf([], { ELANUS_PASSWORD: 'x' }))).toBe('x')
    expect(readBootstrapPassword(configOf([]))).toBeUndefined()
    writeFileSync(file, '\n')
    expect(() => readBootstrapPassword(configOf(['--password-file', file]))).toThrow('is empty')
    rmSync(folder, { recursive: true })
    expect(() => readBootstrapPassword(configOf(['--password-file', file]))).toThrow('cannot read')
  })

  it('explains every setting with flag, variable and default', () => {
    const parsed = parseConfig(['--port', '1', '--help'], {}, machine)
    if (parsed.kind !== 'help') throw new Error('expected help')
    for (const word of [
      '--max-connections N',
      'ELANUS_MAX_CONNECTIONS',
      '(5432)',
      'ELANUS_PASSWORD ',
    ]) {
      expect(parsed.text).toContain(word)
    }
    expect(parsed.text).not.toContain('--password …')
  })

  it('lets other nodes in from this machine, or with certificates, over stores that they share', () => {
    const stores = ['--wal', 'kafka://k:1', '--meta', 'etcd://e:1', '--objects', 's3://b']
    expect(configOf(['--node', 'proxy,data', ...stores]).node).toEqual(['proxy', 'data'])
    expect(() => configOf(['--node', 'proxy'])).toThrow('--wal, --meta and --objects')
    expect(() => configOf(['--node', 'nobody', ...stores])).toThrow('"nobody" is none of')
    const elsewhere = ['--node', 'query', '--advertise', 'q1.example:7400', ...stores]
    expect(() => configOf(elsewhere)).toThrow('refusing to serve other nodes at q1.example')
    const tls = ['--tls-authority', 'a', '--tls-certificate', 'c', '--tls-key', 'k']
    expect(configOf([...elsewhere, ...tls]).advertise).toBe('q1.example:7400')
    expect(() => configOf([...elsewhere, ...tls.slice(2)])).toThrow('belong together')
  })
})
