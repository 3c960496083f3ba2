/** Writes the table of settings into README.md from src/config.ts; `--check` fails when it is not up to date. */
import { readFileSync, writeFileSync } from 'node:fs'
import { listSettings } from '#config.js'

const path = new URL('../README.md', import.meta.url)
const begin = '<!-- settings: written by scripts/settings-table.ts -->\n'
const end = '<!-- /settings -->'

const readme = readFileSync(path, 'utf8')
const [before = '', rest = ''] = readme.split(begin)
const after = rest.slice(rest.indexOf(end))
const rows = listSettings({ processorCount: 8, memoryBytes: 2 ** 32 }).map(
  ({ name, flag, variable, meaning, defaultText }) => {
    const ofMachine: Readonly<Record<string, string>> = {
      threads: 'processors',
      memory: 'half of the machine',
    }
    const shown = ofMachine[name] ?? (defaultText === undefined ? '' : `\`${defaultText}\``)
    const cells = [flag === '' ? '' : `\`${flag}\``, `\`${variable}\``, shown, meaning]
    return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  },
)
const table = ['| Flag | Variable | Default | Meaning |', '|---|---|---|---|', ...rows].join('\n')
const written = `${before}${begin}${table}\n${after}`
if (!process.argv.includes('--check')) writeFileSync(path, written)
else if (written !== readme) {
  console.error('README.md: the table of settings is old; run: npm run settings-table')
  process.exitCode = 1
}
