// Layering, in the order in which ARCHITECTURE.md tells it. A rule's name is its explanation.
const engineOrder = ['columnar', 'types', 'index', 'plan', 'segment', 'exec']
const nodes = ['proxy', 'coordinator', 'streaming', 'query', 'data', 'locks']
const adapters = '^src/storage/[^/]+/[^/]+/'
const tests = '([.](test|test-d|bench|conformance|arbitrary|testing)|-fixture)[.]ts$'
const forbid = (name, from, to) => ({ name, severity: 'error', from, to })

module.exports = {
  forbidden: [
    forbid('no-cycles', {}, { circular: true }),
    forbid('base-stands-alone', { path: '^src/base/' }, { path: '^src/(?!base/)' }),
    forbid('net-knows-only-base', { path: '^src/net/' }, { path: '^src/(?!net/|base/)' }),
    forbid('storage-knows-only-base', { path: '^src/storage/', pathNot: tests }, { path: '^src/(?!storage/|base/)' }),
    forbid(
      'one-adapter-never-uses-another',
      { path: '^src/storage/([^/]+)/([^/]+)/', pathNot: tests },
      { path: adapters, pathNot: '^src/storage/$1/$2/' },
    ),
    forbid('only-assemble-names-adapters', { path: '^src/(nodes|engine|postgres|net|base)/', pathNot: tests }, { path: adapters }),
    forbid('engine-knows-only-base', { path: '^src/engine/' }, { path: '^src/(?!engine/|base/)' }),
    forbid(
      'engine-does-no-io',
      { path: '^src/engine/', pathNot: tests },
      { dependencyTypes: ['core'], path: '^(node:)?(fs|net|http|https|dgram|child_process|worker_threads|timers|tls|dns)(/|$)' },
    ),
    ...engineOrder
      .slice(0, -1)
      .map((layer, i) =>
        forbid(
          `engine-${layer}-imports-only-layers-below`,
          { path: `^src/engine/${layer}/`, pathNot: tests },
          { path: `^src/engine/(${engineOrder.slice(i + 1).join('|')})/` },
        ),
      ),
    forbid(
      'postgres-knows-base-columns-types-and-messages',
      { path: '^src/postgres/', pathNot: tests },
      { path: '^src/(?!postgres/|base/|engine/columnar/|engine/types/|net/pgwire/)' },
    ),
    ...nodes.map((node) =>
      forbid(
        `${node}-is-entered-by-its-contract`,
        { path: `^src/nodes/(?!${node}/)`, pathNot: tests },
        { path: `^src/nodes/${node}/`, pathNot: `^src/nodes/${node}/contract[.]ts$` },
      ),
    ),
    forbid('contract-carries-no-implementation', { path: '^src/nodes/[^/]+/contract[.]ts$' }, { path: '^src/nodes/(?![^/]+/contract[.]ts$)|^src/storage/' }),
    forbid(
      'nothing-below-knows-how-it-is-put-together',
      { path: '^src/[^/]+/', pathNot: '^src/(cli|assemble)/' },
      { path: '^src/[^/]+[.]ts$|^src/cli/', pathNot: '^src/config[.]ts$' },
    ),
    forbid('product-never-imports-tests', { path: '^src/', pathNot: tests }, { path: `^test/|${tests}` }),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '[.]node$' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { conditionNames: ['source', 'import', 'node', 'default'] },
  },
}
