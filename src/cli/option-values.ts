import { InvalidArgumentError } from 'commander'

/** Parser of an option that takes a whole number from 1 on. */
export function wholeNumber(most: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (Number.isInteger(value) && value >= 1 && value <= most) return value
    throw new InvalidArgumentError(`expected a whole number from 1 to ${most}`)
  }
}
