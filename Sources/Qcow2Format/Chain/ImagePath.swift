// SPDX-License-Identifier: GPL-2.0-or-later

/// Names of files as images record them.
public enum ImagePath {
    /// The path of a file that an image names: relative names start in the image's folder.
    public static func resolve(_ name: String, relativeTo image: String) -> String {
        guard !name.hasPrefix("/"), let slash = image.lastIndex(of: "/") else { return name }
        return image[...slash] + name
    }
}
