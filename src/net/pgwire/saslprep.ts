/**
 * SASLprep (RFC 4013) as far as passwords need it. As in PostgreSQL's saslprep.c, a password that
 * is not allowed is used as it is, so that every string can be a password.
 */
export function saslPrepare(password: string): string {
  if (isPlainAscii(password)) return password
  const mapped = password.replace(otherSpaces, ' ').replace(mappedToNothing, '')
  const normalized = mapped.normalize('NFKC')
  if (normalized === '' || prohibited.test(normalized) || !hasConsistentDirection(normalized)) {
    return password
  }
  return normalized
}

/** RFC 3454, C.1.2. */
const otherSpaces = /[\u00A0\u1680\u2000-\u200B\u202F\u205F\u3000]/gu
/** RFC 3454, B.1. */
const mappedToNothing =
  /\u00AD|\u034F|\u1806|[\u180B-\u180D]|\u200C|\u200D|\u2060|[\uFE00-\uFE0F]|\uFEFF/gu
/** RFC 3454, C.2.1 to C.9: control, private use, non-characters, surrogates, and text that changes its neighbours. */
const prohibited =
  /[\p{Cc}\p{Co}\p{Cs}\p{Noncharacter_Code_Point}\u06DD\u070F\u180E\u2028\u2029\u2061-\u2063\u206A-\u206F\uFFF9-\uFFFD\u2FF0-\u2FFB\u200E\u200F\u202A-\u202E\u{1D173}-\u{1D17A}\u{E0001}\u{E0020}-\u{E007F}]|\u0340|\u0341/u
const rightToLeft = /[\u05BE-\u05F4\u061B-\u06D5\u06DD-\u07B1\u200F\uFB1D-\uFDFC\uFE70-\uFEFC]/u
const leftToRight =
  /(?!\p{Script=Hebrew}|\p{Script=Arabic}|\p{Script=Syriac}|\p{Script=Thaana})\p{L}/u

/** RFC 3454, section 6: right-to-left text has no left-to-right letters and starts and ends right-to-left. */
function hasConsistentDirection(text: string): boolean {
  if (!rightToLeft.test(text)) return true
  if (leftToRight.test(text)) return false
  const characters = [...text]
  return rightToLeft.test(characters[0] ?? '') && rightToLeft.test(characters.at(-1) ?? '')
}

function isPlainAscii(text: string): boolean {
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index)
    if (code < 0x20 || code > 0x7e) return false
  }
  return true
}
