// SPDX-License-Identifier: GPL-2.0-or-later

/// How an image's data clusters are encrypted.
///
/// Spec: “Header”, bytes 32 to 35, crypt_method.
public enum EncryptionMethod: UInt32, Sendable {
    case aes = 1
    case luks = 2
}
