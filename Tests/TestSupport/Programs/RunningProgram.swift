// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import Foundation
import Glibc
import SystemPackage

/// A program that was started. It is killed, with the processes of its group, when this object goes.
package final class RunningProgram: Sendable {
    private struct State: Sendable {
        var output: [UInt8] = []
        var error: [UInt8] = []
        var exitCode: Int32?
        var input: Int32?
        var timedOut = false
        /// Goes up with each change above, so that no one waits for a change that has happened.
        var version = 0
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    package let name: String
    package let processID: Int32
    private let state: Locked<State>

    init(
        path: FilePath, arguments: [String], environment: [String: String]
    ) throws(ProgramError) {
        // A program that ends early closes its input; writing to it is then an error and no signal.
        _ = Self.ignoreBrokenPipes
        name = path.lastComponent?.string ?? path.string
        let input = Self.pipe()
        let output = Self.pipe()
        let error = Self.pipe()

        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, input.read, 0)
        posix_spawn_file_actions_adddup2(&actions, output.write, 1)
        posix_spawn_file_actions_adddup2(&actions, error.write, 2)
        // An image lock lives as long as any copy of its descriptor: children must not inherit those of the tests.
        // Closing a number that is free is no error; some room is for what other threads open meanwhile.
        for descriptor in 3..<Self.highestDescriptor() + 64 {
            posix_spawn_file_actions_addclose(&actions, descriptor)
        }

        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var defaults = sigset_t()
        sigemptyset(&defaults)
        // Whoever started the tests may ignore some: a shell does with those of its background jobs.
        for number in [SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGUSR1] { sigaddset(&defaults, number) }
        posix_spawnattr_setsigdefault(&attributes, &defaults)
        // The threads that tests run on block signals, and a child would inherit that.
        var blocked = sigset_t()
        sigemptyset(&blocked)
        posix_spawnattr_setsigmask(&attributes, &blocked)
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(
            &attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK))

        let variables = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        var argumentPointers = ([path.string] + arguments).map { strdup($0) } + [nil]
        var variablePointers = variables.map { strdup("\($0)=\($1)") } + [nil]
        defer { (argumentPointers + variablePointers).forEach { free($0) } }
        var child: pid_t = 0
        let result = posix_spawn(&child, path.string, &actions, &attributes, &argumentPointers, &variablePointers)
        processID = child
        Glibc.close(input.read)
        Glibc.close(output.write)
        Glibc.close(error.write)
        // Where there is no process, deinit must find an ended one: 0 would mean this process's own group.
        state = Locked(result == 0 ? State(input: input.write) : State(exitCode: 127))
        guard result == 0 else {
            for descriptor in [input.write, output.read, error.read] { Glibc.close(descriptor) }
            throw .notStarted(program: name, errno: result)
        }
        let (process, state) = (processID, self.state)
        Thread.detachNewThread { Self.follow(process, output: output.read, error: error.read, state: state) }
    }

    /// Sends bytes to the program's standard input, all of them unless it has closed it.
    package func write(_ bytes: [UInt8]) async {
        guard !bytes.isEmpty else { return }
        await withCheckedContinuation { continuation in
            // A pipe can be full: a thread of its own waits.
            Thread.detachNewThread { [state] in
                var done = 0
                while done < bytes.count, let descriptor = state.withLock({ $0.input }) {
                    let count = bytes[done...].withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
                    if count < 0 && errno == EINTR { continue }
                    if count <= 0 { break }
                    done += count
                }
                continuation.resume()
            }
        }
    }

    package func write(_ text: String) async {
        await write([UInt8](text.utf8))
    }

    /// Ends the program's standard input.
    package func closeInput() {
        if let descriptor = state.withLock({ $0.input.take() }) { Glibc.close(descriptor) }
    }

    /// Sends a signal to the program alone.
    package func signal(_ number: Int32) {
        // The lock keeps the number from belonging to another process: it is freed once the exit code is there.
        state.withLock { state in
            if state.exitCode == nil { _ = Glibc.kill(processID, number) }
        }
    }

    /// Waits until standard output and standard error, one after the other, contain a text.
    ///
    /// - Throws: `ProgramError.ended` where the program ends before; `timedOut`, and then the program is killed.
    package func waitForOutput(_ text: String, timeout: Duration = .seconds(30)) async throws(ProgramError) {
        let needle = [UInt8](text.utf8)
        try await wait(timeout: timeout) {
            $0.output.contains(needle) || $0.error.contains(needle) || $0.exitCode != nil
        }
        let now = state.withLock { $0 }
        if !now.output.contains(needle) && !now.error.contains(needle) {
            throw .ended(program: name, awaited: text, result: result)
        }
    }

    /// Waits for the program's end.
    ///
    /// - Throws: `ProgramError.timedOut`, and then the program is killed.
    package func wait(timeout: Duration = .seconds(60)) async throws(ProgramError) -> ProgramResult {
        try await wait(timeout: timeout) { $0.exitCode != nil }
        return result
    }

    /// Output so far, and the exit code if there is one already, else -1.
    package var result: ProgramResult {
        state.withLock { ProgramResult(exitCode: $0.exitCode ?? -1, outputBytes: $0.output, errorBytes: $0.error) }
    }

    private func wait(
        timeout: Duration, until condition: @Sendable (State) -> Bool
    ) async throws(ProgramError) {
        let timer = Task { [state, processID] in
            guard (try? await Task.sleep(for: timeout)) != nil else { return }
            Self.change(state) { state in
                guard state.exitCode == nil else { return }
                state.timedOut = true
                _ = Glibc.kill(-processID, SIGKILL)
            }
        }
        defer { timer.cancel() }
        while true {
            let (isDone, timedOut, version) = state.withLock { (condition($0), $0.timedOut, $0.version) }
            // First, since the kill may have made the condition true.
            if timedOut {
                let seconds = Double(timeout.components.seconds)
                throw .timedOut(program: name, seconds: seconds, result: result)
            }
            if isDone { return }
            await withCheckedContinuation { continuation in
                let hasChanged = state.withLock { state in
                    if state.version == version { state.waiters.append(continuation) }
                    return state.version != version
                }
                if hasChanged { continuation.resume() }
            }
        }
    }

    deinit {
        closeInput()
        state.withLock { state in
            if state.exitCode == nil { _ = Glibc.kill(-processID, SIGKILL) }
        }
    }

    /// Reads what the program says until both streams end, then collects its exit status.
    private static func follow(_ process: pid_t, output: Int32, error: Int32, state: Locked<State>) {
        var streams = [
            pollfd(fd: output, events: Int16(POLLIN), revents: 0), pollfd(fd: error, events: Int16(POLLIN), revents: 0),
        ]
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while streams.contains(where: { $0.fd >= 0 }) {
            if poll(&streams, 2, -1) < 0 { continue }
            for index in streams.indices where streams[index].fd >= 0 && streams[index].revents != 0 {
                let count = Glibc.read(streams[index].fd, &buffer, buffer.count)
                if count > 0 {
                    let isError = index == 1
                    change(state) { state in
                        if isError { state.error += buffer[..<count] } else { state.output += buffer[..<count] }
                    }
                } else if count == 0 || errno != EINTR {
                    Glibc.close(streams[index].fd)
                    streams[index].fd = -1
                }
            }
        }
        // Waits for the end without collecting, so that the number stays taken until the lock is held.
        var information = siginfo_t()
        while waitid(P_PID, id_t(process), &information, WEXITED | WNOWAIT) < 0 && errno == EINTR {}
        change(state) { state in
            var status: Int32 = 0
            while waitpid(process, &status, 0) < 0 && errno == EINTR {}
            let signal = status & 0x7f
            state.exitCode = signal == 0 ? (status >> 8) & 0xff : 128 + signal
        }
    }

    private static func change(_ state: Locked<State>, _ body: (inout State) -> Void) {
        let waiters = state.withLock { state in
            body(&state)
            state.version += 1
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    private static func pipe() -> (read: Int32, write: Int32) {
        var ends: [Int32] = [-1, -1]
        precondition(Glibc.pipe(&ends) == 0, "no pipe: errno \(errno)")
        for descriptor in ends { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
        return (ends[0], ends[1])
    }

    private static func highestDescriptor() -> Int32 {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
        return names.compactMap { Int32($0) }.max() ?? 1024
    }

    private static let ignoreBrokenPipes: Void = {
        _ = Glibc.signal(SIGPIPE, SIG_IGN)
    }()
}

extension [UInt8] {
    fileprivate func contains(_ needle: [UInt8]) -> Bool {
        Data(self).range(of: Data(needle)) != nil
    }
}
