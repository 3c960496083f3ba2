import { print } from '#cli/print.js'

export async function inspect(args: readonly string[]): Promise<void> {
  print(args.join(' '))
}
