/** A certificate authority for one run, and one certificate with all addresses: nodes on other hosts than one's own show one. */
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** @returns the settings of `elanus start`. @throws Error without openssl */
export function makeCertificates(folder: string, addresses: readonly string[]): readonly string[] {
  const file = (name: string) => join(folder, name)
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  const authority = ['-keyout', file('authority.key'), '-out', file('authority.pem')]
  openssl('req', '-x509', ...key, ...authority, '-days', '2', '-subj', '/CN=authority')
  const request = ['-keyout', file('node.key'), '-out', file('node.csr')]
  openssl('req', ...key, ...request, '-subj', '/CN=node')
  const names = addresses.map((address) => `IP:${address}`).join()
  writeFileSync(file('node.ext'), `subjectAltName=${names}\n`)
  openssl(
    ...['x509', '-req', '-in', file('node.csr'), '-CA', file('authority.pem')],
    ...['-CAkey', file('authority.key'), '-CAcreateserial', '-days', '2'],
    ...['-extfile', file('node.ext'), '-out', file('node.pem')],
  )
  return [
    ...['--tls-authority', file('authority.pem')],
    ...['--tls-certificate', file('node.pem'), '--tls-key', file('node.key')],
  ]
}

function openssl(...args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(program, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`openssl: ${error?.message ?? stderr}`)
}

const program = 'openssl'
