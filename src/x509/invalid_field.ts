/**
 * A field of a certificate or a revocation list that breaks a rule. The message names the field and quotes no value, so
 * that an error for the user may repeat it.
 */
export class InvalidField extends RangeError {}
