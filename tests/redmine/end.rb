# Ends the server with whoever started it: with them goes the other end of the standard input.
require 'fileutils'

Thread.new do
  $stdin.read
  FileUtils.rm_rf(ENV.fetch('FOLDER'))
  exit!(0)
end
