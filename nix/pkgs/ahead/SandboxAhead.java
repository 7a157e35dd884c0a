import com.sun.tools.javac.launcher.SourceLauncher;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.Writer;
import java.net.URI;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import javax.tools.FileObject;
import javax.tools.ForwardingJavaFileManager;
import javax.tools.JavaFileManager;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.ToolProvider;
import jdk.internal.access.SharedSecrets;

/**
 * Java's launcher of source files, which is told by its first argument whether it was started ahead of its call. Then it waits
 * until that has come: until descriptor 3 ends.
 */
final class SandboxAhead {
    private static final int CALL = 3;

    public static void main(String... all) throws Throwable {
        String[] arguments = Arrays.copyOfRange(all, 1, all.length);
        // As it would be without this class.
        System.setProperty("java.class.path", ".");
        System.setProperty(
            "sun.java.command",
            "jdk.compiler/" + SourceLauncher.class.getName() + " " + String.join(" ", arguments));
        if (all[0].equals("ahead")) {
            compileSomething();
            awaitCall();
        }
        addWorkingDirectory();
        if (new RunSource(Path.of(arguments[0])).isForTheJdk()) {
            SourceLauncher.main(arguments);
        } else {
            RunSource.main(arguments);
        }
    }

    /** Lets classes and resources be found in the working directory: that is the class path which the property names. */
    private static void addWorkingDirectory() throws ReflectiveOperationException {
        ClassLoader loader = ClassLoader.getSystemClassLoader();
        // By which debuggers and agents add to the class path.
        var append = loader.getClass().getDeclaredMethod("appendToClassPathForInstrumentation", String.class);
        append.setAccessible(true);
        append.invoke(loader, ".");
    }

    private static void awaitCall() throws IOException {
        var descriptor = new FileDescriptor();
        SharedSecrets.getJavaIOFileDescriptorAccess().set(descriptor, CALL);
        try (var call = new FileInputStream(descriptor)) {
            byte[] buffer = new byte[4096];
            while (call.read(buffer) >= 0) {}
        }
    }

    /** The compiler takes far longer for the first file than for the next. Nothing is written, and nobody runs it. */
    private static void compileSomething() {
        var compiler = ToolProvider.getSystemJavaCompiler();
        var files = new ForwardingJavaFileManager<JavaFileManager>(compiler.getStandardFileManager(null, null, null)) {
            @Override
            public JavaFileObject getJavaFileForOutput(
                    Location location, String name, JavaFileObject.Kind kind, FileObject sibling) {
                return new Something(kind);
            }
        };
        String release = Integer.toString(Runtime.version().feature());
        var options = List.of("-proc:none", "-Xlint:none", "--enable-preview", "--release", release);
        var source = List.of(new Something(JavaFileObject.Kind.SOURCE));
        compiler.getTask(Writer.nullWriter(), files, null, options, null, source).call();
    }

    private static final class Something extends SimpleJavaFileObject {
        Something(Kind kind) {
            super(URI.create("memory:///Something" + kind.extension), kind);
        }

        @Override
        public CharSequence getCharContent(boolean ignoreEncodingErrors) {
            return """
                class Something {
                    public static void main(String[] arguments) {
                        for (var item : java.util.List.of(1)) System.out.println("item " + item);
                    }
                }
                """;
        }

        @Override
        public OutputStream openOutputStream() {
            return OutputStream.nullOutputStream();
        }
    }
}
