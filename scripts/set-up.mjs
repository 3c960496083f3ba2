/**
 * Set-up: brings a fresh clone to where it can run, and decides in a few milliseconds when there is nothing to do.
 *
 * 1. Debian packages   compiler, CMake, Faiss, BLAS — looked at only when the add-on must be built
 * 2. node modules      npm ci
 * 3. native add-on     scripts/build-native.sh  → build/elanus.node
 * 4. TypeScript        tsc                      → dist/
 * 5. catalog snapshot  scripts/make-snapshot    → build/snapshot
 *
 * A step is done again when its inputs changed: first by size and modification time (a stat per file), then, if those
 * differ, by content, so that a checkout which only touches files builds nothing.
 * Invariant: nothing but Node's own modules is imported here, because this runs before node_modules exists; and no
 * step relies on install scripts of packages, which npm 11 does not run.
 */
import { createHash } from 'node:crypto'
import {
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { availableParallelism } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { runLogged } from './run-logged.mjs'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))
const cache = join(root, '.cache')
const stampPath = join(cache, 'set-up.json')
const lockPath = join(cache, 'set-up.lock')
const nodeMajorMin = 20

const tests = /(\.(test|test-d|bench|conformance|arbitrary|testing)|-fixture)\.ts$/

/** @type {readonly { name: string, inputs: readonly string[], ignore?: RegExp, outputs: readonly string[], run: () => Promise<void> }[]} */
const steps = [
  {
    name: 'node modules',
    inputs: ['package-lock.json'],
    outputs: ['node_modules/.package-lock.json'],
    run: installModules,
  },
  {
    name: 'native add-on',
    inputs: ['native', 'scripts/build-native.sh'],
    ignore: /\.md$/,
    outputs: ['build/elanus.node'],
    run: buildNative,
  },
  {
    name: 'TypeScript',
    inputs: ['src', 'tsconfig.json', 'tsconfig.build.json', 'package-lock.json'],
    ignore: tests,
    outputs: ['dist/cli/run.js'],
    run: buildTypeScript,
  },
  {
    name: 'catalog snapshot',
    inputs: [
      'scripts/make-snapshot.ts',
      'src/postgres/make-snapshot.ts',
      'src/postgres/snapshot-bundle.ts',
      'src/postgres/start-options.ts',
      'src/postgres/tar.ts',
      'sql',
      'package-lock.json',
    ],
    outputs: ['build/snapshot/postgres.snapshot'],
    run: buildSnapshot,
  },
]

/**
 * Does what is missing. Prints one line per step that has work, the output of a step only when it failed.
 * @throws Error that says what to do; the caller prints it and exits with 1.
 */
export function setUp() {
  return doSteps(steps)
}

/** Only the node modules: what the checks need. @throws Error as setUp */
export function setUpModules() {
  return doSteps(steps.slice(0, 1))
}

async function doSteps(wanted) {
  checkNodeVersion()
  if (staleSteps(wanted, readStamp()).length === 0) return
  mkdirSync(cache, { recursive: true })
  const release = await acquireLock()
  try {
    // Read again: whoever held the lock before may have done the work.
    const stamp = readStamp()
    for (const { step, inputs } of staleSteps(wanted, stamp)) {
      const content = contentOf(inputs)
      const sameContent = stamp[step.name]?.content === content && outputsExist(step)
      if (!sameContent) await step.run()
      stamp[step.name] = { quick: quickOf(step), content }
      writeStamp(stamp)
    }
  } finally {
    release()
  }
}

function staleSteps(wanted, stamp) {
  const stale = []
  for (const step of wanted) {
    const quick = quickOf(step)
    if (stamp[step.name]?.quick === quick && outputsExist(step)) continue
    stale.push({ step, inputs: filesOf(step) })
  }
  return stale
}

function outputsExist(step) {
  return step.outputs.every((path) => existsSync(join(root, path)))
}

function filesOf(step) {
  const files = []
  for (const input of step.inputs) walk(input, step.ignore, files)
  return files
}

function walk(path, ignore, files) {
  const stat = statSync(join(root, path), { throwIfNoEntry: false })
  if (stat === undefined || ignore?.test(path)) return
  if (!stat.isDirectory()) {
    files.push({ path, stat })
    return
  }
  for (const name of readdirSync(join(root, path)).sort()) {
    if (name.startsWith('.')) continue
    walk(`${path}/${name}`, ignore, files)
  }
}

function environment() {
  return `${process.platform} ${process.arch} ${process.versions.node.split('.')[0]} ${root}`
}

function quickOf(step) {
  const hash = createHash('sha1').update(environment())
  for (const { path, stat } of filesOf(step)) hash.update(`${path} ${stat.size} ${stat.mtimeMs}\n`)
  return hash.digest('hex')
}

function contentOf(files) {
  const hash = createHash('sha1').update(environment())
  for (const { path } of files) hash.update(`${path}\n`).update(readFileSync(join(root, path)))
  return hash.digest('hex')
}

function readStamp() {
  try {
    return JSON.parse(readFileSync(stampPath, 'utf8'))
  } catch {
    return {}
  }
}

function writeStamp(stamp) {
  writeFileSync(`${stampPath}.new`, JSON.stringify(stamp, undefined, 2))
  renameSync(`${stampPath}.new`, stampPath)
}

/** One set-up at a time per clone: `npm start` in one terminal and `npm test` in another must not share a build. */
async function acquireLock() {
  let told = false
  for (;;) {
    try {
      const file = openSync(lockPath, 'wx')
      writeSync(file, String(process.pid))
      closeSync(file)
      return () => rmSync(lockPath, { force: true })
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
    }
    if (!ownerLives()) {
      rmSync(lockPath, { force: true })
      continue
    }
    if (!told) console.error('elanus set-up: waiting for another set-up in this clone')
    told = true
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

function ownerLives() {
  try {
    const text = readFileSync(lockPath, 'utf8')
    // Just created and not yet written: its owner lives.
    if (text === '') return Date.now() - statSync(lockPath).mtimeMs < 5_000
    process.kill(Number(text), 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

function checkNodeVersion() {
  const major = Number(process.versions.node.split('.')[0])
  if (major >= nodeMajorMin) return
  throw new Error(
    `Elanus needs Node ${nodeMajorMin} or newer, this is ${process.version}: https://nodejs.org/en/download`,
  )
}

// 1. Debian packages

/** What the add-on needs, and how to see that it is there. Tools may come from anywhere, libraries are asked from dpkg. */
function missingPackages() {
  const missing = []
  const hasCompiler = process.env.CXX || onPath('g++') || onPath('c++') || onPath('clang++')
  if (!hasCompiler) missing.push('g++')
  if (!onPath('cmake')) missing.push('cmake')
  if (!onPath('ninja') && !onPath('make')) missing.push('ninja-build')
  for (const library of ['libfaiss-dev', 'libopenblas-dev']) {
    if (!existsSync(`/var/lib/dpkg/info/${library}.list`) && !archListExists(library))
      missing.push(library)
  }
  // clang brings no OpenMP of its own.
  if (hasCompiler && !onPath('g++') && !onPath('c++') && !existsSync('/usr/lib/gcc'))
    missing.push('libomp-dev')
  return missing
}

function archListExists(library) {
  const arch = { x64: 'amd64', arm64: 'arm64' }[process.arch] ?? process.arch
  return existsSync(`/var/lib/dpkg/info/${library}:${arch}.list`)
}

function onPath(command) {
  return (process.env.PATH ?? '')
    .split(delimiter)
    .some((folder) => existsSync(join(folder, command)))
}

async function installPackages() {
  // Not Debian or Ubuntu: CMake itself says what it cannot find.
  if (!onPath('apt-get')) return
  const missing = missingPackages()
  if (missing.length === 0) return
  const install = ['install', '-y', '--no-install-recommends', ...missing]
  if (process.getuid?.() !== 0) {
    throw new Error(
      `these Debian packages are missing: ${missing.join(', ')}. Install them and start again:\n\n` +
        `  sudo apt-get update && sudo apt-get ${install.join(' ')}\n`,
    )
  }
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const what = `Debian packages ${missing.join(', ')}`
  // A fresh machine or image has no package lists, or old ones: update when the first try fails.
  const first = await runLogged(what, 'apt-get', install, { cwd: root, env, mayFail: true })
  if (first) return
  await runLogged('Debian package lists', 'apt-get', ['update'], { cwd: root, env })
  await runLogged(what, 'apt-get', install, { cwd: root, env })
}

// 2. node modules

async function installModules() {
  if (!modulesMatchLock()) {
    // --include=dev: TypeScript is needed to build, whatever NODE_ENV says.
    const args = ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=warn']
    const npm = process.env.npm_execpath
    if (npm?.endsWith('.js')) {
      await runLogged('node modules (npm ci)', process.execPath, [npm, ...args], { cwd: root })
    } else {
      await runLogged('node modules (npm ci)', 'npm', args, { cwd: root })
    }
  }
  linkCommand()
}

/** Whether somebody already installed what the lock file asks for: compares it with npm's own record of node_modules. */
function modulesMatchLock() {
  try {
    const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages
    const present = JSON.parse(
      readFileSync(join(root, 'node_modules/.package-lock.json'), 'utf8'),
    ).packages
    return Object.entries(wanted).every(
      ([path, entry]) =>
        path === '' ||
        (present[path] === undefined
          ? entry.optional === true
          : present[path].version === entry.version),
    )
  } catch {
    return false
  }
}

/** node_modules/.bin/elanus, so that `npx elanus` finds the command of this clone at once. */
function linkCommand() {
  const link = join(root, 'node_modules/.bin/elanus')
  rmSync(link, { force: true })
  mkdirSync(dirname(link), { recursive: true })
  symlinkSync('../../scripts/elanus.mjs', link)
}

// 3. native add-on

async function buildNative() {
  await installPackages()
  forgetForeignBuild()
  const env = { ELANUS_BUILD_JOBS: String(availableParallelism()), ...process.env }
  await runLogged('native add-on', 'bash', ['scripts/build-native.sh'], { cwd: root, env })
}

/** A CMake cache that was made elsewhere (a copied or moved clone) cannot be used here. */
function forgetForeignBuild() {
  const cachePath = join(root, 'build/native/CMakeCache.txt')
  if (!existsSync(cachePath)) return
  if (readFileSync(cachePath, 'utf8').includes(`=${join(root, 'native')}\n`)) return
  rmSync(join(root, 'build/native'), { recursive: true, force: true })
}

// 4. TypeScript

async function buildTypeScript() {
  // Without its output the incremental state lies: tsc would write nothing.
  if (!existsSync(join(root, 'dist/cli/run.js')))
    rmSync(join(cache, 'tsbuildinfo.build'), { force: true })
  const tsc = join(root, 'node_modules/typescript/bin/tsc')
  await runLogged('TypeScript', process.execPath, [tsc, '-p', 'tsconfig.build.json'], { cwd: root })
  cpSync(join(root, 'src/net/rpc/node.proto'), join(root, 'dist/net/rpc/node.proto'))
}

// 5. catalog snapshot

async function buildSnapshot() {
  const args = ['--import', 'tsx', '--conditions=source', 'scripts/make-snapshot.ts']
  await runLogged('catalog snapshot', process.execPath, args, { cwd: root })
}
