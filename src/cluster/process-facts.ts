/** What a process of the cluster tells of itself, for elanus.nodes and elanus.memory: asked for when somebody looks. */
import { backgroundContext } from '#base/context.js'
import { UnreachableError } from '#base/errors.js'
import type { FollowedOwners } from '#cluster/follow-owners.js'
import type { Member } from '#cluster/open-member.js'
import type { ServedContract } from '#net/rpc/calls-served.js'
import type { ClusterFacts, MemoryFact, NodeFact } from '#nodes/proxy/live/cluster-facts.js'

export interface ProcessFacts {
  readonly startedMs: number
  readonly version: string
  readonly memory: readonly MemoryFact[]
}

const target = { contract: 'facts', object: '' }

export function serveFacts(facts: () => ProcessFacts): ServedContract {
  return { facts: async () => facts() }
}

export function gatherFacts(
  { coordinator, connections, nodes: known }: Member,
  owners: Pick<FollowedOwners, 'addressOf'>,
  replicaCount: number,
): ClusterFacts {
  /** undefined: it does not answer just now. */
  async function ask(address: string): Promise<ProcessFacts | undefined> {
    try {
      const client = connections.promptTo(address)
      return (await client.call(target, 'facts', [], backgroundContext)) as ProcessFacts
    } catch (error) {
      if (error instanceof UnreachableError) return undefined
      throw error
    }
  }

  async function askAll() {
    const nodes = await coordinator.nodes()
    const addresses = [...new Set(nodes.map(({ address }) => address))]
    const answers = await Promise.all(
      addresses.map(async (address) => ({ address, facts: await ask(address) })),
    )
    return { nodes, answers }
  }

  return {
    replicas: () => ({
      byDefault: replicaCount,
      nodeCount: known.ofKind('query').filter(({ isDraining }) => !isDraining).length,
      isStandalone: false,
    }),
    ownerOf: (logChannel) => owners.addressOf(logChannel),
    async nodes() {
      const { nodes, answers } = await askAll()
      return nodes.map(({ kind, id, address, isDraining, isLeading }): NodeFact => {
        const facts = answers.find((answer) => answer.address === address)?.facts
        const state = isDraining ? 'leaving' : isLeading === true ? 'leading' : 'active'
        return {
          name: `${kind} ${id}`,
          kind,
          state: facts === undefined ? 'silent' : state,
          address,
          startedMs: facts?.startedMs,
          version: facts?.version,
        }
      })
    },
    async memory() {
      const { answers } = await askAll()
      return answers.flatMap(({ address, facts }) =>
        (facts?.memory ?? []).map((part) => ({ ...part, name: `${part.name} of ${address}` })),
      )
    },
  }
}
