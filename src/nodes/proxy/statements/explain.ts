/** EXPLAIN: our plan in PostgreSQL's shape: segments, index, strategy, rows; with ANALYZE what really happened. */
import { notSupported } from '#base/errors.js'
import type { SegmentReport } from '#engine/plan/fragment.js'
import { writeDataRow } from '#net/pgwire/backend.js'
import { ByteWriter } from '#net/pgwire/byte-writer.js'
import { vectorOperators } from '#nodes/proxy/plan/operators.js'
import { preparePlan } from '#nodes/proxy/plan/prepare-plan.js'
import type { PreparedPlan, QueryPlan, ScanPlan } from '#nodes/proxy/plan/query-plan.js'
import { resolveSlots } from '#nodes/proxy/plan/resolve-slots.js'
import { aggregate } from '#nodes/proxy/statements/aggregate.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import { filteredScan } from '#nodes/proxy/statements/filtered-scan.js'
import { shardsOf } from '#nodes/proxy/statements/read-rows.js'
import type { Result } from '#nodes/proxy/statements/result.js'
import { search, searchMode } from '#nodes/proxy/statements/search.js'
import { select } from '#nodes/proxy/statements/select.js'
import { parseStatements, type TreeNode } from '#postgres/classify.js'
import type { PlanNode } from '#postgres/contract.js'

interface ExplainNode {
  readonly type: string
  readonly properties: readonly (readonly [string, string])[]
  readonly children: readonly ExplainNode[]
}

export async function explain(execution: Execution): Promise<Result> {
  const options = explainOptions(execution.parsed.tree)
  const format = options.get('format') ?? 'text'
  if (format !== 'text' && format !== 'json')
    throw notSupported(`EXPLAIN (FORMAT ${format}) is not supported yet`)
  const inner = innerStatement(execution)
  const analyze = isOn(options.get('analyze'))
  const { runtime } = execution.environment
  const started = runtime.monotonicMs()
  const prepared = inner.parsed.kind === 'select' ? await preparePlan(inner) : await planOnly(inner)
  const planned = runtime.monotonicMs()
  const report = analyze ? await run(inner, prepared) : undefined
  const ended = runtime.monotonicMs()
  const node = describePlan(prepared.plan, prepared, inner, report)
  const lines =
    format === 'json' ? [toJson(node, report, planned - started, ended - planned)] : toText(node)
  if (format === 'text' && report !== undefined) {
    lines.push(`Planning Time: ${(planned - started).toFixed(3)} ms`)
    lines.push(`Execution Time: ${(ended - planned).toFixed(3)} ms`)
  }
  const writer = new ByteWriter()
  for (const line of lines) writeDataRow(writer, [line])
  return {
    fields: [
      {
        name: 'QUERY PLAN',
        tableOid: 0,
        attnum: 0,
        typeOid: format === 'json' ? 114 : 25,
        typeSize: -1,
        typmod: -1,
        format: execution.bound.resultFormats[0] ?? 0,
      },
    ],
    rows: [{ data: writer.take(), count: lines.length }],
    tag: () => 'EXPLAIN',
  }
}

/** Statements that change rows: PostgreSQL's own plan; they run verbatim. */
async function planOnly(execution: Execution): Promise<PreparedPlan> {
  const { environment, settings, transaction, bound } = execution
  return {
    plan: { kind: 'verbatim', scans: [], searches: [], limits: [] },
    slots: [],
    description: { parameterTypes: [], fields: [] },
    explained: await environment.postgres.explain(
      bound,
      settings.session(),
      transaction.pendingDdl,
    ),
  }
}

interface RunReport {
  readonly rowCount: number
  readonly segments: readonly SegmentReport[]
}

async function run(execution: Execution, prepared: PreparedPlan): Promise<RunReport> {
  if (execution.parsed.kind !== 'select') {
    throw notSupported('EXPLAIN ANALYZE of statements that change rows is not supported yet')
  }
  const values = await resolveSlots(prepared.slots, prepared.description.parameterTypes, execution)
  const segments: SegmentReport[] = []
  const add = (more: readonly SegmentReport[]): void => {
    segments.push(...more)
  }
  const { plan } = prepared
  const result =
    plan.kind === 'search'
      ? await search(plan, values, prepared, execution, (report) => add(report.segments))
      : plan.kind === 'scan'
        ? await filteredScan(plan, values, prepared, execution, add)
        : plan.kind === 'aggregate'
          ? await aggregate(plan, values, prepared, execution, add)
          : await select(execution)
  let rowCount = 0
  for await (const chunk of result.rows) rowCount += chunk.count
  return { rowCount, segments }
}

function explainOptions(tree: TreeNode): ReadonlyMap<string, string> {
  const options = new Map<string, string>()
  for (const item of (tree['options'] ?? []) as readonly { readonly DefElem?: TreeNode }[]) {
    const argument = item.DefElem?.['arg'] as TreeNode | undefined
    const text = (argument?.['String'] as TreeNode | undefined)?.['sval']
    const flag = (argument?.['Boolean'] as TreeNode | undefined)?.['boolval']
    options.set(
      String(item.DefElem?.['defname']),
      text !== undefined
        ? String(text).toLowerCase()
        : argument === undefined || flag === true
          ? 'true'
          : 'false',
    )
  }
  return options
}

function isOn(text: string | undefined): boolean {
  return text !== undefined && ['true', 'on', '1', 'yes'].includes(text)
}

function innerStatement(execution: Execution): Execution {
  const { sql } = execution.parsed
  // EXPLAIN [ANALYZE] [VERBOSE] | EXPLAIN ( options ) before the statement.
  const match =
    /^explain\s*(\((?:[^()']|'[^']*')*\)|(?:\s*(?:analyze|analyse|verbose)\b)*)\s*/i.exec(sql)
  const rest = sql.slice(match?.[0].length ?? 0)
  const [parsed] = parseStatements(rest)
  if (parsed === undefined) throw notSupported('this form of EXPLAIN is not supported')
  return { ...execution, parsed, bound: { ...execution.bound, sql: parsed.sql, resultFormats: [] } }
}

function describePlan(
  plan: QueryPlan,
  prepared: PreparedPlan,
  execution: Execution,
  report: RunReport | undefined,
): ExplainNode {
  switch (plan.kind) {
    case 'search': {
      const operator = vectorOperators.operatorOf.get(plan.metric) ?? ''
      const mode = searchMode(execution)
      return {
        type: plan.hasIndex && mode === 'auto' ? 'Vector Search using hnsw' : 'Exact Vector Search',
        properties: [
          ['Order By', `${columnName(plan.scans[0], plan.attnum)} ${operator} query`],
          ['Reduce', plan.output === undefined ? 'evaluate statement over the winners' : 'native'],
          ...(mode === 'auto'
            ? [['ef_search', execution.settings.get('hnsw.ef_search') ?? ''] as const]
            : []),
        ],
        children: plan.scans.map((scan) => scanNode('Segment Search', scan, report)),
      }
    }
    case 'scan':
      return {
        type:
          plan.scan.key !== undefined
            ? 'Key Lookup'
            : plan.orderBy.length > 0
              ? 'Top Rows'
              : 'Rows',
        properties: [
          ['Reduce', plan.output === undefined ? 'evaluate statement over the rows' : 'native'],
        ],
        children: [scanNode('Segment Scan', plan.scan, report)],
      }
    case 'aggregate':
      return {
        type: 'Aggregate',
        properties: [['Aggregates', plan.aggregates.map((spec) => spec.kind).join(', ')]],
        children: plan.scans.map((scan) => scanNode('Segment Aggregate', scan, report)),
      }
    case 'verbatim':
      return {
        type: 'Evaluate',
        properties: [],
        children: [
          postgresNode(prepared.explained),
          ...plan.searches.flatMap((part) =>
            part.scans.map((scan) => scanNode('Segment Search', scan, report)),
          ),
          ...plan.scans.map((scan) => scanNode('Segment Scan', scan, report)),
        ],
      }
    case 'catalog':
      return { type: 'Catalog', properties: [], children: [postgresNode(prepared.explained)] }
    case 'hoisted':
      return {
        type: 'Parameters from sub-selects',
        properties: plan.subqueries.map(
          (subquery, i) => [`Sub-select ${i + 1}`, subquery.sql] as const,
        ),
        children: [{ type: 'Then', properties: [['Statement', plan.sql]], children: [] }],
      }
    default:
      return plan satisfies never
  }
}

function columnName(scan: ScanPlan | undefined, attnum: number): string {
  return scan?.table.columns.find((column) => column.attnum === attnum)?.name ?? '?'
}

function scanNode(type: string, scan: ScanPlan, report: RunReport | undefined): ExplainNode {
  const properties: [string, string][] = []
  const shards = shardsOf(scan.table)
  if (shards > 1) {
    properties.push(['Shards', isByKey(scan) ? `by key, of ${shards}` : `${shards}`])
  }
  if (scan.key !== undefined)
    properties.push(['Key', scan.key.columns.map((column) => column.name).join(', ')])
  if (scan.filter !== undefined)
    properties.push(['Filter', scan.filterComplete ? 'native' : 'native in part'])
  if (!scan.filterComplete)
    properties.push([
      'Evaluated Filter',
      scan.residual === undefined ? 'with the statement' : 'row by row',
    ])
  for (const segment of report?.segments ?? []) {
    properties.push([
      `Segment ${segment.segmentId}`,
      `${segment.shard === undefined ? '' : `shard ${segment.shard}, `}${segment.stage}, rows ${segment.rowCount}, passing ${segment.passing}, strategy ${segment.strategy}, visited ${segment.visited}`,
    ])
  }
  return { type: `${type} on ${scan.table.name}`, properties, children: [] }
}

/** A primary key lies in one shard. */
function isByKey({ key, table }: ScanPlan): boolean {
  return table.keys.some(({ indexOid, primary }) => primary && indexOid === key?.indexOid)
}

function postgresNode(node: PlanNode): ExplainNode {
  const relation = node['Relation Name']
  const properties: [string, string][] = []
  if (node['Sort Key'] !== undefined) properties.push(['Sort Key', node['Sort Key'].join(', ')])
  if (node.Filter !== undefined) properties.push(['Filter', node.Filter])
  return {
    type: relation === undefined ? node['Node Type'] : `${node['Node Type']} on ${relation}`,
    properties,
    children: (node.Plans ?? []).map(postgresNode),
  }
}

// Superset and others read cost=a..b from the first line; ours are not estimates, so they are zero.
function toText(node: ExplainNode): string[] {
  const lines: string[] = []
  const walk = (current: ExplainNode, depth: number): void => {
    const indent = depth === 0 ? '' : `${' '.repeat(depth * 6 - 4)}->  `
    lines.push(`${indent}${current.type}  (cost=0.00..0.00 rows=0 width=0)`)
    const inner = ' '.repeat(depth === 0 ? 2 : depth * 6 + 2)
    for (const [name, value] of current.properties) lines.push(`${inner}${name}: ${value}`)
    for (const child of current.children) walk(child, depth + 1)
  }
  walk(node, 0)
  return lines
}

function toJson(
  node: ExplainNode,
  report: RunReport | undefined,
  planningMs: number,
  executionMs: number,
): string {
  const plain = (current: ExplainNode): object => ({
    'Node Type': current.type,
    'Total Cost': 0,
    ...Object.fromEntries(current.properties),
    ...(current.children.length > 0 ? { Plans: current.children.map(plain) } : {}),
  })
  const times =
    report === undefined
      ? {}
      : {
          'Actual Rows': report.rowCount,
          'Planning Time': planningMs,
          'Execution Time': executionMs,
        }
  return JSON.stringify([{ Plan: plain(node), ...times }], null, 2)
}
