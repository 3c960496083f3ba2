import { expect, test } from 'vitest'
import { saslPrepare } from '#net/pgwire/saslprep.js'
import {
  checkPassword,
  formatVerifier,
  makeVerifier,
  mockVerifier,
  parseVerifier,
  ScramExchange,
} from '#net/pgwire/scram.js'

/** From the example of RFC 7677, section 3: user `user`, password `pencil`. */
const rfc = {
  salt: Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64'),
  clientNonce: 'rOprNGfwEbeRWgbNEkqO',
}

test('the verifier is PostgreSQL’s', async () => {
  const made = await makeVerifier('pencil', rfc.salt)
  const text = formatVerifier(made)
  // StoredKey and ServerKey as PostgreSQL's scram_build_secret makes them of this salt.
  expect(text).toBe(
    'SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=',
  )
  const parsed = parseVerifier(text)
  expect(parsed && formatVerifier(parsed)).toBe(text)
  expect(await checkPassword('pencil', made)).toBe(true)
  expect(await checkPassword('pencil ', made)).toBe(false)
})

test.each([
  '',
  'secret',
  'md5abc',
  'SCRAM-SHA-256$4096:AAAA$AAAA:AAAA',
  'SCRAM-SHA-256$0:AAAA$x:y',
])('%j is no verifier', (text) => {
  expect(parseVerifier(text)).toBeUndefined()
})

test('a mock verifier is the same for the same user and differs between users', () => {
  const secret = Buffer.alloc(32, 1)
  expect(mockVerifier('a', secret)).toEqual(mockVerifier('a', secret))
  expect(mockVerifier('a', secret).salt).not.toEqual(mockVerifier('b', secret).salt)
  expect(parseVerifier(formatVerifier(mockVerifier('a', secret)))).toBeDefined()
})

function exchange(): ScramExchange {
  return new ScramExchange(mockVerifier('u', Buffer.alloc(32)), (count) => Buffer.alloc(count, 5))
}

test.each([
  ['', 'malformed'],
  ['n,,', 'malformed'],
  ['x,,n=,r=abc', 'malformed'],
  ['p=tls-server-end-point,,n=,r=abc', 'malformed'],
  ['n,a=other,n=,r=abc', 'client uses authorization identity'],
  ['n,,m=ext,n=,r=abc', 'unsupported SCRAM extension'],
  ['n,,n=,r=', 'non-printable'],
  ['n,,n=,r=a\u0001', 'non-printable'],
])('client-first %j is refused', (message, words) => {
  expect(() => exchange().first(message)).toThrow(words)
})

test('client-final must repeat binding and nonce, and prove the password', () => {
  const first = (): [ScramExchange, string] => {
    const one = exchange()
    const nonce = /^r=([^,]*),/.exec(one.first(`n,,n=u,r=${rfc.clientNonce}`))?.[1] ?? ''
    return [one, nonce]
  }
  const proof = Buffer.alloc(32).toString('base64')
  const [wrongNonce] = first()
  expect(() => wrongNonce.final(`c=biws,r=other,p=${proof}`)).toThrow('invalid SCRAM response')
  const [wrongBinding, nonce] = first()
  expect(() => wrongBinding.final(`c=eSws,r=${nonce},p=${proof}`)).toThrow('channel-binding')
  expect(() => first()[0].final(`c=biws,r=${nonce}`)).toThrow('malformed')
  expect(() => first()[0].final(`c=biws,r=${nonce},p=AAAA`)).toThrow('malformed')
  expect(first()[0].final(`c=biws,r=${nonce},p=${proof}`)).toBeUndefined()
})

test.each([
  ['plain', 'plain'],
  ['a\u00a0b', 'a b'],
  ['a\u00adb', 'ab'],
  ['\u2168', 'IX'],
  ['\u0007', '\u0007'],
  ['\u0627\u0031', '\u0627\u0031'],
  ['\u0627a', '\u0627a'],
  ['e\u0301', '\u00e9'],
])('saslPrepare(%j)', (password, prepared) => {
  expect(saslPrepare(password)).toBe(prepared)
})
