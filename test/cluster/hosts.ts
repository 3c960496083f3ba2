/** A host for each node and one for the services, with certificates for all of them. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { makeCertificates } from './certificates.js'
import { Network, networkUnavailable } from './network.js'
import { servicesHost } from './partitions.js'
import { nodeNames, type Place, type Places } from './programs.js'

export interface Hosts {
  readonly network: Network
  readonly places: Places
}

/** @throws Error when there can be no namespaces here */
export function openHosts(folder: string): Hosts {
  const reason = networkUnavailable()
  if (reason !== undefined) throw new Error(`partitions cannot be tried: ${reason}`)
  const names = [servicesHost, ...nodeNames]
  const network = new Network(names)
  const certificates = join(folder, 'certificates')
  mkdirSync(certificates, { recursive: true })
  const place = (name: string): Place => ({
    address: network.address(name),
    enter: network.enter(name),
  })
  const addresses = names.map((name) => network.address(name))
  return {
    network,
    places: {
      services: place(servicesHost),
      of: place,
      arguments: makeCertificates(certificates, addresses),
      // Of a database that lives for minutes in namespaces of this machine.
      password: 'elanus-test',
    },
  }
}
