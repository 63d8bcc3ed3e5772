// SPDX-License-Identifier: GPL-2.0-or-later

import CLinux
import Glibc
import SystemPackage

/// A thread of the operating system, for work that blocks.
package enum SystemThread {
    /// Bytes of a thread's stack. What recurses most is the decoding of JSON, which goes 512 levels deep at most.
    private static let stackLength = 2 << 20

    /// Starts a thread that runs `body` and ends with it. Nothing waits for it.
    ///
    /// - Parameter name: what debuggers and process listings show; at most 15 bytes.
    /// - Throws: the error of `pthread_create`: most often EAGAIN, where the number of threads is limited.
    package static func start(_ name: StaticString, _ body: @escaping @Sendable () -> Void) throws(Errno) {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setstacksize(&attributes, stackLength)
        let work = Unmanaged.passRetained(Work(name: name, body: body))
        var thread = pthread_t()
        let result = pthread_create(
            &thread, &attributes,
            { work in
                let work = Unmanaged<Work>.fromOpaque(work!).takeRetainedValue()
                work.name.withUTF8Buffer { name in
                    name.withMemoryRebound(to: CChar.self) { _ = clinux_name_thread($0.baseAddress) }
                }
                work.body()
                return nil
            }, work.toOpaque())
        guard result == 0 else {
            work.release()
            throw Errno(rawValue: result)
        }
        pthread_detach(thread)
    }

    private final class Work: Sendable {
        let name: StaticString
        let body: @Sendable () -> Void

        init(name: StaticString, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }
}
