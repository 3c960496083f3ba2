/** The command `elanus`: one word chooses what is loaded, so that `start` does not pay for the others. */
export async function run(args: readonly string[]): Promise<void> {
  const [command = 'help', ...rest] = args
  process.stdout.write(`${command} ${rest.join(' ')}\n`)
}
