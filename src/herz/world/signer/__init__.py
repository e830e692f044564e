"""Who signs: keys in an encrypted file, and keys in a TPM 2.0."""
