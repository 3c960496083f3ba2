/** `npm start -- <flags>` is `elanus start <flags>`. */
process.argv.splice(2, 0, 'start')
await import('./elanus.mjs')
