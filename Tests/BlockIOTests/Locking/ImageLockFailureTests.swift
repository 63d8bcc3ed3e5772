// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc
import SystemPackage
import Testing

@testable import BlockIO

/// Where the system has no locks, that is reported and no failure; other errors are failures; either way nothing stays
/// locked.
struct ImageLockFailureTests {
    /// Locks of an imaginary file, of which one call fails.
    final class ImaginaryFile: Sendable {
        private struct State {
            var locked: Set<Int64> = []
            var calls = 0
        }

        private let state = Locked(State())
        let failingCall: Int
        let errno: Errno

        /// - Parameter failingCall: number of the locking or probing call that fails, from 1; every later one works.
        init(failingCall: Int, errno: Errno) {
            self.failingCall = failingCall
            self.errno = errno
        }

        var locked: Set<Int64> { state.withLock { $0.locked } }

        var calls: LockCalls {
            LockCalls(
                lock: { [self] _, byte, type in
                    state.withLock { state in
                        if type == Int16(F_UNLCK) {
                            state.locked.remove(byte)
                            return nil
                        }
                        state.calls += 1
                        if state.calls == failingCall { return errno }
                        state.locked.insert(byte)
                        return nil
                    }
                },
                probe: { [self] _, _, type in
                    type = Int16(F_UNLCK)
                    return state.withLock { state in
                        state.calls += 1
                        return state.calls == failingCall ? errno : nil
                    }
                })
        }

        func lock(
            _ mode: ImageLockMode, fallback: ImaginaryFile? = nil
        ) throws(ImageLockError) -> ImageLock {
            try .acquire(descriptor: -1, path: "disk.img", mode: mode, system: calls, fallback: fallback?.calls)
        }
    }

    /// Where there are no locks of open files, those of processes take their place, and are known to be weaker.
    @Test(arguments: callsOfReader)
    func classicLocksTakeTheirPlace(failingCall: Int) throws {
        let file = ImaginaryFile(failingCall: failingCall, errno: .invalidArgument)
        let classic = ImaginaryFile(failingCall: 0, errno: .invalidArgument)
        let lock = try file.lock(.readOnlySource, fallback: classic)
        let (reason, isClassic) = (lock.unavailable, lock.isClassic)
        #expect(reason == nil && isClassic)
        #expect(file.locked == [] && classic.locked == [100, 201, 203])
        lock.release()
        #expect(classic.locked == [])
    }

    @Test func whereThereIsNoLockAtAllThatIsReported() throws {
        let file = ImaginaryFile(failingCall: 1, errno: .invalidArgument)
        let classic = ImaginaryFile(failingCall: 1, errno: .noLocks)
        let lock = try file.lock(.readOnlySource, fallback: classic)
        let (reason, isClassic) = (lock.unavailable, lock.isClassic)
        #expect(reason?.errno == .noLocks)
        #expect(!isClassic && classic.locked == [])
        lock.release()
    }

    /// A lock that somebody else holds is no reason to try a weaker one.
    @Test func aConflictIsNoReasonForClassicLocks() throws {
        let file = ImaginaryFile(failingCall: 1, errno: .resourceTemporarilyUnavailable)
        #expect(throws: ImageLockError.self) {
            let lock = try file.lock(.readOnlySource, fallback: ImaginaryFile(failingCall: 0, errno: .noLocks))
            lock.release()
        }
    }

    /// Three bytes to lock and three to probe.
    static let callsOfReader = 1...6

    @Test(arguments: [Errno.invalidArgument, .noLocks, .notSupported, .noFunction], callsOfReader)
    func missingLocksAreReported(errno: Errno, failingCall: Int) throws {
        let file = ImaginaryFile(failingCall: failingCall, errno: errno)
        let lock = try file.lock(.readOnlySource)
        let reason = lock.unavailable
        #expect(reason?.errno == errno)
        #expect(reason?.path == "disk.img")
        #expect(file.locked == [])
        lock.release()
    }

    @Test(arguments: [Errno.ioError, .badFileDescriptor], callsOfReader)
    func otherErrorsAreFailures(errno: Errno, failingCall: Int) {
        let file = ImaginaryFile(failingCall: failingCall, errno: errno)
        let error = #expect(throws: ImageLockError.self) { _ = try file.lock(.readOnlySource) }
        guard case .system(let failure) = error else {
            Issue.record("not a system error: \(String(describing: error))")
            return
        }
        #expect(failure.errno == errno)
        #expect(file.locked == [])
    }

    @Test(arguments: callsOfReader)
    func interruptedCallsAreMadeAgain(failingCall: Int) throws {
        let file = ImaginaryFile(failingCall: failingCall, errno: .interrupted)
        let lock = try file.lock(.readOnlySource)
        let reason = lock.unavailable
        #expect(reason == nil)
        #expect(file.locked == [100, 201, 203])
        lock.release()
        #expect(file.locked == [])
    }

    /// Reader's calls are 1 to 6; the change locks 101 and 103 in calls 7 and 8, and probes in 9 to 13.
    @Test(arguments: 7...13)
    func aFailedChangeKeepsTheOldLocks(failingCall: Int) throws {
        let file = ImaginaryFile(failingCall: failingCall, errno: .ioError)
        var lock = try file.lock(.readOnlySource)
        do {
            try lock.change(to: .writable)
            Issue.record("the change went through")
        } catch {
            #expect(!error.isInUse)
        }
        #expect(file.locked == [100, 201, 203])
        // Without the fault it works.
        try lock.change(to: .writable)
        #expect(file.locked == [100, 101, 103, 201, 203])
        lock.release()
        #expect(file.locked == [])
    }
}
