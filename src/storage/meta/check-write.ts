import { StoreError } from '#base/errors.js'
import { metaKeyBytesMax, metaValueBytesMax } from '#base/limits.js'
import type { MetaCondition, MetaOperation } from '#storage/meta/meta.js'

/** What every adapter refuses alike. etcd refuses a key that is put twice in one transaction, too. @throws StoreError */
export function checkMetaWrite(
  conditions: readonly MetaCondition[],
  operations: readonly MetaOperation[],
): void {
  for (const { key } of conditions) checkKey(key)
  const changed = new Set<string>()
  for (const operation of operations) {
    checkKey(operation.key)
    if (changed.has(operation.key)) refuse(`key "${operation.key}" is changed twice in one write`)
    changed.add(operation.key)
    if (operation.kind === 'put' && operation.value.length > metaValueBytesMax) {
      refuse(`the value of key "${operation.key}" has ${operation.value.length} bytes`)
    }
  }
}

function checkKey(key: string): void {
  const length = Buffer.byteLength(key, 'utf8')
  if (length === 0 || length > metaKeyBytesMax) refuse(`a key of ${length} bytes`)
  if (/\p{Surrogate}/u.test(key)) refuse('a key with a lone surrogate')
}

function refuse(what: string): never {
  throw new StoreError('determinate', `the meta store does not take ${what}`)
}
