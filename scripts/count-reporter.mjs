/**
 * A vitest reporter that writes counts, and the reasons of skipped tests, as JSON to the file named in ELANUS_TEST_COUNTS: of all
 * together, and of each file.
 */
import { writeFileSync } from 'node:fs'
import { relative } from 'node:path'

export default class CountReporter {
  onTestRunEnd(modules, unhandledErrors) {
    const files = {}
    for (const module of modules) files[relative('', module.moduleId)] = countsOf(module)
    const sum = (name) => Object.values(files).reduce((total, found) => total + found[name], 0)
    const counts = {
      passed: sum('passed'),
      failed: sum('failed') + unhandledErrors.length,
      skipped: sum('skipped'),
      skips: Object.values(files).flatMap(({ skips }) => skips),
      files,
    }
    writeFileSync(process.env.ELANUS_TEST_COUNTS, JSON.stringify(counts))
  }
}

function countsOf(module) {
  // A file that cannot even be loaded has no tests: it counts as one failure.
  const failed = module.errors().length > 0 ? 1 : 0
  const found = { passed: 0, failed, skipped: 0, skips: [] }
  for (const test of module.children.allTests()) {
    const { state, note } = test.result()
    found[state === 'passed' || state === 'failed' ? state : 'skipped'] += 1
    if (state === 'skipped') {
      // Whole groups say in their name what they need.
      found.skips.push(note === undefined ? test.fullName : `${test.fullName}: ${note}`)
    }
  }
  return found
}
