// `run-example SparkPi [slices]`, by which EMR's users try a cluster. Spark's own jar of examples is in its archive of
// 400 MB alone and not in the package repositories: this one has the example's name, arguments and last line.
package org.apache.spark.examples

import org.apache.spark.sql.SparkSession

object SparkPi {
  private val PointsPerSlice = 100000

  def main(args: Array[String]): Unit = {
    val slices = args.headOption.fold(2)(_.toInt)
    val spark = SparkSession.builder().appName("Spark Pi").getOrCreate()
    try {
      val inside = spark.sparkContext.parallelize(0 until slices, slices).map(pointsInside).sum()
      println(s"Pi is roughly ${4 * inside / (slices.toDouble * PointsPerSlice)}")
    } finally spark.stop()
  }

  /** How many of the points that a slice draws in a square lie in the circle that fills it. */
  private def pointsInside(slice: Int): Double = {
    val random = new java.util.Random(slice)
    def coordinate(): Double = 2 * random.nextDouble() - 1
    Iterator.fill(PointsPerSlice)((coordinate(), coordinate())).count { case (x, y) => x * x + y * y <= 1 }.toDouble
  }
}
