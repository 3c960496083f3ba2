/** A vitest reporter that writes counts, and the reasons of skipped tests, as JSON to the file named in ELANUS_TEST_COUNTS. */
import { writeFileSync } from 'node:fs'

export default class CountReporter {
  onTestRunEnd(modules, unhandledErrors) {
    const counts = { passed: 0, failed: unhandledErrors.length, skipped: 0, skips: [] }
    for (const module of modules) {
      // A file that cannot even be loaded has no tests: it counts as one failure.
      if (module.errors().length > 0) counts.failed += 1
      for (const test of module.children.allTests()) {
        const result = test.result()
        counts[result.state === 'passed' || result.state === 'failed' ? result.state : 'skipped'] +=
          1
        if (result.state === 'skipped') {
          counts.skips.push({ name: test.fullName, why: result.note ?? 'no reason given' })
        }
      }
    }
    writeFileSync(process.env.ELANUS_TEST_COUNTS, JSON.stringify(counts))
  }
}
