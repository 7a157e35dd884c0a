import com.sun.source.tree.ArrayTypeTree;
import com.sun.source.tree.ClassTree;
import com.sun.source.tree.CompilationUnitTree;
import com.sun.source.tree.MethodTree;
import com.sun.source.tree.ModifiersTree;
import com.sun.source.tree.Tree;
import com.sun.source.util.JavacTask;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.reflect.Constructor;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.net.MalformedURLException;
import java.net.URI;
import java.net.URL;
import java.net.URLConnection;
import java.net.URLStreamHandler;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.security.CodeSource;
import java.security.ProtectionDomain;
import java.security.cert.Certificate;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Enumeration;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import javax.lang.model.SourceVersion;
import javax.tools.DiagnosticListener;
import javax.tools.FileObject;
import javax.tools.ForwardingJavaFileManager;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileManager;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.ToolProvider;

/**
 * Runs a Java source file as {@code java FILE} does, whichever of its types has the main method, and whatever their package.
 *
 * <p>The JDK's own launcher takes the first type of the file, or that of the file's name, and wants the file to lie in a
 * directory of the package's name. Those who have one file to give write neither. Compiled is in memory; types of other files
 * are found below the directory of the file, or beside it if they are of the same package.
 *
 * <p>In the language of Java 11, because a host's JDK compiles this too.
 */
final class RunSource {
    private static final JavaCompiler COMPILER = ToolProvider.getSystemJavaCompiler();

    /** Whether a main method may be of any visibility, of an object, and without parameters: since Java 21. */
    private static final boolean HAS_INSTANCE_MAINS = Runtime.version().feature() >= 21;

    private final Path file;
    private final CompilationUnitTree parsed;
    private final ClassTree chosen;

    public static void main(String... arguments) throws Throwable {
        // As it would be without this class.
        System.setProperty("java.class.path", ".");
        RunSource source = new RunSource(Path.of(arguments[0]));
        source.run(Arrays.copyOfRange(arguments, 1, arguments.length));
    }

    RunSource(Path file) throws IOException {
        this.file = file;
        parsed = parse(file);
        chosen = parsed == null ? null : choose(parsed);
    }

    /** Whether the JDK's own launcher runs the same, or has to say why nothing can be run. */
    boolean isForTheJdk() {
        if (chosen == null) return true;
        String place = packageName(parsed).replace('.', '/');
        return chosen == types(parsed).get(0) && (place.isEmpty() || directory().endsWith(place));
    }

    private void run(String[] arguments) throws Throwable {
        Classes classes = compile();
        Thread.currentThread().setContextClassLoader(classes);
        if (chosen == null) throw refusal("error: no class declared in source file");
        String prefix = packageName(parsed).isEmpty() ? "" : packageName(parsed) + ".";
        Class<?> type = Class.forName(prefix + chosen.getSimpleName(), false, classes);
        Method main = mainOf(type);
        if (main == null) throw refusal("error: can't find main(String[]) method in class: " + type.getName());
        if (!HAS_INSTANCE_MAINS && !(Modifier.isPublic(main.getModifiers()) && Modifier.isStatic(main.getModifiers()))) {
            throw refusal("error: 'main' method is not declared 'public static'");
        }
        Object receiver = null;
        if (!Modifier.isStatic(main.getModifiers())) {
            try {
                Constructor<?> constructor = type.getDeclaredConstructor();
                constructor.setAccessible(true);
                receiver = constructor.newInstance();
            } catch (NoSuchMethodException exception) {
                throw refusal("error: no non-private zero argument constructor found in class " + type.getName());
            } catch (InvocationTargetException exception) {
                throw withoutOurFrames(exception.getCause(), type);
            }
        }
        main.setAccessible(true);
        try {
            main.invoke(receiver, main.getParameterCount() == 0 ? new Object[0] : new Object[] {arguments});
        } catch (InvocationTargetException exception) {
            throw withoutOurFrames(exception.getCause(), type);
        }
    }

    /** Ends the program as the JDK's launcher does where there is nothing to run. */
    private static Error refusal(String message) {
        System.err.println(message);
        System.exit(1);
        return new Error();
    }

    private Path directory() {
        return file.toAbsolutePath().normalize().getParent();
    }

    private static CompilationUnitTree parse(Path file) throws IOException {
        DiagnosticListener<JavaFileObject> nobody = diagnostic -> {};
        JavaFileManager files = COMPILER.getStandardFileManager(nobody, null, null);
        var task = (JavacTask) COMPILER.getTask(null, files, nobody, options(), null, List.of(new Source(file)));
        for (CompilationUnitTree unit : task.parse()) return unit;
        return null;
    }

    private static List<String> options() {
        String release = Integer.toString(Runtime.version().feature());
        return List.of(
            "--enable-preview", "--source", release, "-proc:none", "-Xdiags:verbose",
            "-Xlint:deprecation", "-Xlint:unchecked", "-Xlint:-options");
    }

    private static String packageName(CompilationUnitTree unit) {
        return unit.getPackageName() == null ? "" : unit.getPackageName().toString();
    }

    private static List<ClassTree> types(CompilationUnitTree unit) {
        Stream<? extends Tree> trees = unit.getTypeDecls().stream();
        return trees.filter(ClassTree.class::isInstance).map(ClassTree.class::cast).collect(Collectors.toList());
    }

    /** The first type, as the JDK has it, if it has a main method or none has; or else a public one, or else any that has. */
    private static ClassTree choose(CompilationUnitTree unit) {
        List<ClassTree> types = types(unit);
        if (types.isEmpty()) return null;
        List<ClassTree> able = types.stream().filter(type -> hasMain(unit, type)).collect(Collectors.toList());
        if (able.isEmpty() || able.contains(types.get(0))) return types.get(0);
        return able.stream().filter(RunSource::isPublic).findFirst().orElse(able.get(0));
    }

    private static boolean isPublic(ClassTree type) {
        return has(type.getModifiers(), javax.lang.model.element.Modifier.PUBLIC);
    }

    /** Whether it declares a main method that can be called: one that is not static needs an object of the type. */
    private static boolean hasMain(CompilationUnitTree unit, ClassTree type) {
        boolean isAbstract = has(type.getModifiers(), javax.lang.model.element.Modifier.ABSTRACT);
        boolean hasObjects = type.getKind() != Tree.Kind.INTERFACE && !isAbstract;
        boolean isInterface = type.getKind() == Tree.Kind.INTERFACE;
        for (Tree member : type.getMembers()) {
            if (!(member instanceof MethodTree) || !isMain((MethodTree) member, unit, type)) continue;
            ModifiersTree modifiers = ((MethodTree) member).getModifiers();
            if (has(modifiers, javax.lang.model.element.Modifier.PRIVATE)) continue;
            boolean isStatic = has(modifiers, javax.lang.model.element.Modifier.STATIC);
            boolean isPublic = isInterface || has(modifiers, javax.lang.model.element.Modifier.PUBLIC);
            if (HAS_INSTANCE_MAINS ? isStatic || hasObjects : isStatic && isPublic) return true;
        }
        return false;
    }

    private static boolean has(ModifiersTree modifiers, javax.lang.model.element.Modifier wanted) {
        return modifiers.getFlags().contains(wanted);
    }

    private static boolean isMain(MethodTree method, CompilationUnitTree unit, ClassTree type) {
        if (!method.getName().contentEquals("main") || !"void".equals(String.valueOf(method.getReturnType()))) return false;
        if (method.getParameters().isEmpty()) return HAS_INSTANCE_MAINS;
        Tree first = method.getParameters().get(0).getType();
        return method.getParameters().size() == 1
            && first instanceof ArrayTypeTree
            && isString(((ArrayTypeTree) first).getType().toString(), unit, type);
    }

    /** Whether this names the type of texts, and not one of the file's own. */
    private static boolean isString(String name, CompilationUnitTree unit, ClassTree type) {
        if (!name.equals("String")) return name.equals("java.lang.String");
        Stream<? extends Tree> declared = Stream.concat(unit.getTypeDecls().stream(), type.getMembers().stream());
        return declared.noneMatch(tree -> tree instanceof ClassTree && ((ClassTree) tree).getSimpleName().contentEquals("String"));
    }

    /** With arguments before without, of the type itself before inherited; private ones are none. */
    private static Method mainOf(Class<?> type) {
        Class<?>[][] all = HAS_INSTANCE_MAINS ? new Class<?>[][] {{String[].class}, {}} : new Class<?>[][] {{String[].class}};
        for (Class<?>[] parameters : all) {
            for (Class<?> owner = type; owner != null; owner = owner.getSuperclass()) {
                try {
                    Method main = owner.getDeclaredMethod("main", parameters);
                    if (!Modifier.isPrivate(main.getModifiers())) return main;
                } catch (NoSuchMethodException exception) {
                    continue;
                }
            }
        }
        return null;
    }

    private Classes compile() throws IOException {
        Output output = new Output(COMPILER.getStandardFileManager(null, null, null));
        List<String> options = new ArrayList<>(options());
        options.addAll(List.of("-sourcepath", directory().toString(), "-implicit:class"));
        List<JavaFileObject> sources = new ArrayList<>(List.of(new Source(file)));
        if (parsed != null && !packageName(parsed).isEmpty()) sources.addAll(ofSamePackage());
        if (!COMPILER.getTask(null, output, null, options, null, sources).call()) {
            throw refusal("error: compilation failed");
        }
        return new Classes(output.compiled);
    }

    /** The files beside this one that belong into a directory of the package's name too. */
    private List<JavaFileObject> ofSamePackage() throws IOException {
        List<JavaFileObject> sources = new ArrayList<>();
        List<Path> beside;
        try (Stream<Path> paths = Files.list(directory())) {
            beside = paths.filter(path -> path.toString().endsWith(".java")).sorted().collect(Collectors.toList());
        }
        for (Path path : beside) {
            if (Files.isSameFile(path, file) || !Files.isRegularFile(path)) continue;
            CompilationUnitTree unit = parse(path);
            if (unit != null && packageName(unit).equals(packageName(parsed))) sources.add(new Source(path.getFileName()));
        }
        return sources;
    }

    /** Takes out of a stack trace what lies below the program's beginning. */
    private static Throwable withoutOurFrames(Throwable thrown, Class<?> type) {
        for (Throwable cause = thrown; cause != null; cause = cause.getCause()) {
            StackTraceElement[] frames = cause.getStackTrace();
            int theirs = frames.length;
            if (Stream.of(frames).anyMatch(RunSource::isOurs)) {
                while (theirs > 0 && !isOf(frames[theirs - 1], type)) theirs--;
            }
            // Where the program has no frame of its own, ours say what happened.
            if (theirs > 0) cause.setStackTrace(Arrays.copyOf(frames, theirs));
        }
        return thrown;
    }

    private static boolean isOurs(StackTraceElement frame) {
        return frame.getClassName().equals(RunSource.class.getName());
    }

    private static boolean isOf(StackTraceElement frame, Class<?> type) {
        for (Class<?> owner = type; owner != null; owner = owner.getSuperclass()) {
            if (owner != Object.class && frame.getClassName().equals(owner.getName())) return true;
        }
        return false;
    }

    /** A source file in which a public type may have any name. Messages call it as it was given. */
    private static final class Source extends SimpleJavaFileObject {
        private final Path path;
        private final String content;

        Source(Path path) throws IOException {
            super(path.toUri(), Kind.SOURCE);
            this.path = path;
            String text = Files.readString(path);
            // A first line for the kernel is a comment.
            content = text.startsWith("#!") ? "//" + text : text;
        }

        @Override
        public String getName() {
            return path.toString();
        }

        @Override
        public CharSequence getCharContent(boolean ignoreEncodingErrors) {
            return content;
        }

        @Override
        public boolean isNameCompatible(String simpleName, Kind kind) {
            return kind == Kind.SOURCE && SourceVersion.isIdentifier(simpleName);
        }
    }

    /** Keeps what is compiled in memory. */
    private static final class Output extends ForwardingJavaFileManager<JavaFileManager> {
        final Map<String, ByteArrayOutputStream> compiled = new HashMap<>();

        Output(JavaFileManager files) {
            super(files);
        }

        @Override
        public JavaFileObject getJavaFileForOutput(
                Location location, String name, JavaFileObject.Kind kind, FileObject sibling) {
            return new SimpleJavaFileObject(URI.create("memory:///" + name.replace('.', '/') + kind.extension), kind) {
                @Override
                public OutputStream openOutputStream() {
                    return compiled.computeIfAbsent(name, key -> new ByteArrayOutputStream());
                }
            };
        }
    }

    /** Loads what was compiled, before anything else of that name. */
    private final class Classes extends ClassLoader {
        private final Map<String, ByteArrayOutputStream> compiled;
        private final ProtectionDomain domain;

        Classes(Map<String, ByteArrayOutputStream> compiled) throws MalformedURLException {
            super(ClassLoader.getSystemClassLoader());
            this.compiled = compiled;
            URL source = file.toAbsolutePath().normalize().toUri().toURL();
            domain = new ProtectionDomain(new CodeSource(source, (Certificate[]) null), null, this, null);
        }

        @Override
        protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
            synchronized (getClassLoadingLock(name)) {
                Class<?> loaded = findLoadedClass(name);
                ByteArrayOutputStream bytes = loaded == null ? compiled.get(name) : null;
                if (bytes != null) loaded = defineClass(name, bytes.toByteArray(), 0, bytes.size(), domain);
                return loaded == null ? super.loadClass(name, resolve) : loaded;
            }
        }

        @Override
        public URL getResource(String name) {
            URL inMemory = inMemory(name);
            return inMemory == null ? super.getResource(name) : inMemory;
        }

        @Override
        public Enumeration<URL> getResources(String name) throws IOException {
            // By their texts: comparing URLs may ask for the addresses of hosts.
            Map<String, URL> found = new LinkedHashMap<>();
            URL inMemory = inMemory(name);
            if (inMemory != null) found.put(inMemory.toString(), inMemory);
            for (URL url : Collections.list(super.getResources(name))) found.putIfAbsent(url.toString(), url);
            return Collections.enumeration(found.values());
        }

        @Override
        protected Enumeration<URL> findResources(String name) {
            URL found = findResource(name);
            return Collections.enumeration(found == null ? List.of() : List.of(found));
        }

        /** Below the directory of the source file, or beside it what belongs to its package, as other source files do. */
        @Override
        protected URL findResource(String name) {
            String place = packageName(parsed).replace('.', '/') + "/";
            URL below = fileOf(name);
            return below == null && name.startsWith(place) ? fileOf(name.substring(place.length())) : below;
        }

        private URL fileOf(String name) {
            try {
                Path path = directory().resolve(name);
                return Files.exists(path) ? path.toUri().toURL() : null;
            } catch (InvalidPathException | MalformedURLException exception) {
                return null;
            }
        }

        /** The class file of a class that was compiled. */
        @SuppressWarnings("deprecation") // Its replacement is newer than Java 11.
        private URL inMemory(String name) {
            if (!name.endsWith(".class")) return null;
            String type = name.substring(0, name.length() - ".class".length()).replace('/', '.');
            ByteArrayOutputStream bytes = compiled.get(type);
            if (bytes == null) return null;
            try {
                return new URL("memory", null, -1, name, new InMemory(bytes.toByteArray()));
            } catch (MalformedURLException exception) {
                return null;
            }
        }
    }

    /** Opens URLs of this content. */
    private static final class InMemory extends URLStreamHandler {
        private final byte[] content;

        InMemory(byte[] content) {
            this.content = content;
        }

        @Override
        protected URLConnection openConnection(URL url) {
            return new URLConnection(url) {
                @Override
                public void connect() {}

                @Override
                public InputStream getInputStream() {
                    return new ByteArrayInputStream(content);
                }

                @Override
                public long getContentLengthLong() {
                    return content.length;
                }
            };
        }
    }
}
