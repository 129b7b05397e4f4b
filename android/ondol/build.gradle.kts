import org.jetbrains.kotlin.gradle.dsl.JvmDefaultMode
import org.jetbrains.kotlin.gradle.dsl.JvmTarget
import org.jetbrains.kotlin.gradle.dsl.KotlinVersion

plugins {
    alias(libs.plugins.android.library)
    alias(libs.plugins.kotlin.android)
}

android {
    namespace = "dev.ondol"
    compileSdk = 36

    defaultConfig {
        minSdk = 24
        consumerProguardFiles("consumer-rules.pro")
    }

    sourceSets.named("main") {
        kotlin.srcDirs("src/main/android", "src/main/android29")
        // `cargo xtask android` builds jniLibs/<abi>/libondol_jni.so, aligned to pages of
        // 16 KB.
        jniLibs.srcDir("../../target/mobile/android/jniLibs")
    }

    // Libraries stay uncompressed in the APK, where the system maps them.
    packaging.jniLibs.useLegacyPackaging = false

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_1_8
        targetCompatibility = JavaVersion.VERSION_1_8
    }
}

kotlin {
    explicitApi()
    compilerOptions {
        // Apps with Kotlin 2.1 can read metadata of this version.
        languageVersion = KotlinVersion.KOTLIN_2_1
        apiVersion = KotlinVersion.KOTLIN_2_1
        jvmTarget = JvmTarget.JVM_1_8
        jvmDefault = JvmDefaultMode.NO_COMPATIBILITY
        freeCompilerArgs.add("-Xsuppress-version-warnings")
    }
    coreLibrariesVersion = "2.1.21"
}

dependencies {
    api(libs.kotlinx.coroutines.core)
}
